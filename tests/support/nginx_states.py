"""Desired states and users' files for tests of nginx mode."""

from __future__ import annotations

from support.entries import make_entry

from fastroute.controller.desired import Desired, Route
from fastroute.controller.nginx_mode.user_templates import TemplateSource, UserTemplates, built_in


def route(key: str, address: str, container: str = "web-1", **more: object) -> Route:
    return Route(make_entry(key, address, owner=f"{container}@1", **more), container)


def desired(*routes: Route) -> Desired:
    return {wanted_route.id: wanted_route for wanted_route in routes}


def custom(includes: dict[str, str], **templates: str) -> UserTemplates:
    ours = built_in()
    theirs = {f"{name}.conf.j2": TemplateSource(text, f"/mine/{name}.conf.j2") for name, text in templates.items()}
    return UserTemplates(
        {**ours.templates, **theirs}, {name: TemplateSource(text, f"/mine/{name}") for name, text in includes.items()}
    )
