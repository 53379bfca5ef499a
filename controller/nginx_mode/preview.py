"""What would be written for nginx now, beside what is: for ``fastroute-ctl render``.  An edge that only reads."""

from __future__ import annotations

from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.nginx_config import ConfigState, NginxOptions, render
from fastroute.controller.nginx_mode.user_templates import read_user_templates
from fastroute.controller.settings import ControllerSettings


def nginx_options(settings: ControllerSettings) -> NginxOptions:
    """What is the same for all keys, as the options have it."""
    return NginxOptions(settings.nginx_listen, str(settings.nginx_status), settings.nginx_trusted_proxies)


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
