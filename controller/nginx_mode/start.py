"""What nginx mode needs before anything starts: an edge."""

from __future__ import annotations

import os

from fastroute.controller.nginx_mode.nginx_config import ConfigState, render
from fastroute.controller.nginx_mode.preview import nginx_options
from fastroute.controller.nginx_mode.rendering import TemplateProblem, templates_of
from fastroute.controller.nginx_mode.user_templates import UserTemplatesProblem, read_user_templates
from fastroute.controller.settings import ControllerSettings
from fastroute.router.config.configuration import ConfigurationError


def check_nginx(settings: ControllerSettings) -> None:
    """``ConfigurationError`` for a directory that can't be written, and for templates that are broken (FILE:LINE)."""
    theirs = settings.nginx_template_dir
    if theirs is not None and not os.path.isdir(theirs):
        raise ConfigurationError(f"nginx-template-dir: {theirs}: a directory expected")
    try:
        user_templates = read_user_templates(theirs)
        templates_of(user_templates).check()
        render(ConfigState({}), user_templates, nginx_options(settings))
    except (UserTemplatesProblem, TemplateProblem) as problem:
        raise ConfigurationError(f"{problem}") from None
    try:
        os.makedirs(settings.nginx_conf_dir, 0o750, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"nginx-conf-dir: {settings.nginx_conf_dir}: {error.strerror}") from None
    if not os.access(settings.nginx_conf_dir, os.W_OK | os.X_OK):
        raise ConfigurationError(f"nginx-conf-dir: {settings.nginx_conf_dir}: a directory expected that can be written")
