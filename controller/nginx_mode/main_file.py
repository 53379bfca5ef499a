"""A complete ``nginx.conf``: in front of routers, or as the frame of nginx mode.  Pure; from the same templates."""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.controller.nginx_mode.rendering import templates_of
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.upstreams import server_address
from fastroute.controller.nginx_mode.user_templates import UserTemplates
from fastroute.router.protocol.address import parse_address


@dataclass(frozen=True, slots=True)
class MainFileOptions:
    """What the main file is made from."""

    #: Where requests go; none: the files that the controller writes below ``conf_dir`` are included.
    routers: tuple[str, ...] = ()
    #: What those are spoken to: ``uwsgi`` (``--listen``), or ``http`` (``--listen-http``).
    front: str = "uwsgi"
    #: As in :class:`~.nginx_config.NginxOptions`.
    listen: tuple[str, ...] = ("80",)
    #: As in :class:`~.nginx_config.NginxOptions`.
    trusted_proxies: tuple[str, ...] = ()
    #: A file to include that has the trusted proxies instead.
    trusted_file: str | None = None
    conf_dir: str = "/etc/nginx/fastroute"
    #: None: no HTTPS.
    tls: TlsOptions | None = None
    #: True for an unprivileged container with a read-only root.
    container: bool = False
    #: The command that is named as the writer in the file.
    command: str = "fastroute-ctl render --mode router"


def main_file(options: MainFileOptions, user_templates: UserTemplates) -> str:
    """The text of nginx's main file; ``AddressError`` for a router that nginx can't reach."""
    return templates_of(user_templates).render(
        "nginx.conf.j2",
        routers=[server_address(parse_address(router), names=True) for router in options.routers],
        front=options.front,
        listen=options.listen,
        trusted_proxies=options.trusted_proxies,
        trusted_file=options.trusted_file,
        conf_dir=options.conf_dir,
        container=options.container,
        tls=options.tls,
        command=options.command,
    )
