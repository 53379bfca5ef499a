"""A complete ``nginx.conf``: in front of routers, or as the frame of nginx mode.  Pure; from the same templates."""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.controller.nginx_mode.rendering import templates_of
from fastroute.controller.nginx_mode.upstreams import server_address
from fastroute.controller.nginx_mode.user_templates import Customs
from fastroute.router.address import parse_address


@dataclass(frozen=True, slots=True)
class Front:
    """``routers``: where requests go (none: what the controller writes below ``conf_dir`` is included); ``listen``,
    ``trusted_proxies``: as in :class:`~.nginx_config.Look`, the latter in ``trusted_file`` if that is given;
    ``container``: for an unprivileged container with a read-only root; ``command``: said to have written it."""

    routers: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("80",)
    trusted_proxies: tuple[str, ...] = ()
    trusted_file: str | None = None
    conf_dir: str = "/etc/nginx/fastroute"
    container: bool = False
    command: str = "fastroute-ctl render --mode router"


def main_file(front: Front, customs: Customs) -> str:
    """The text of nginx's main file; ``AddressError`` for a router that nginx can't reach."""
    return templates_of(customs).render(
        "nginx.conf.j2",
        routers=[server_address(parse_address(router), names=True) for router in front.routers],
        listen=front.listen,
        trusted_proxies=front.trusted_proxies,
        trusted_file=front.trusted_file,
        conf_dir=front.conf_dir,
        container=front.container,
        command=front.command,
    )
