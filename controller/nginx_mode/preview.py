"""What would be written for nginx now, beside what is: for ``fastroute-ctl render``.  An edge that only reads."""

from __future__ import annotations

from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.nginx_config import ConfigState, NginxOptions, render
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.upstreams import server_address
from fastroute.controller.nginx_mode.user_templates import read_user_templates
from fastroute.controller.settings import ControllerSettings


def nginx_options(settings: ControllerSettings) -> NginxOptions:
    """What is the same for all keys, as the options have it."""
    tls = None
    if settings.nginx_listen_tls and settings.nginx_certificates:
        version = settings.nginx_version
        tls = TlsOptions(settings.nginx_listen_tls, settings.nginx_certificates, settings.nginx_https_port, version)
    challenge = None
    if settings.nginx_challenge is not None:
        challenge = f"http://{server_address(settings.nginx_challenge, names=True)}"
    return NginxOptions(
        settings.nginx_listen, str(settings.nginx_status), settings.nginx_trusted_proxies, tls, challenge,
        settings.nginx_version,
    )  # fmt: skip


def preview(settings: ControllerSettings, state: ConfigState) -> dict[str, object]:
    """The files of ``state`` and those that nginx uses, as JSON; ``UserTemplatesProblem`` or ``TemplateProblem``."""
    rendered = render(state, read_user_templates(settings.nginx_template_dir), nginx_options(settings))
    current = Generations(settings.nginx_conf_dir).current()
    return {
        "directory": settings.nginx_conf_dir,
        "hash": rendered.hash,
        "files": dict(rendered.files),
        "current_hash": current.hash if current else None,
        "current": dict(current.files) if current else {},
        "problems": [str(problem) for problem in rendered.problems],
    }
