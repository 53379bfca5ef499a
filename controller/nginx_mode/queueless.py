"""Labels that ask for a queue, which nginx mode does not have: what ``ps`` and ``describe`` say of them.  Pure.

It is no error of the container: the same labels work in router mode, and its requests are served here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastroute.controller.nginx_mode.upstreams import no_queue
from fastroute.controller.views import View


def noted(views: Mapping[str, View]) -> dict[str, View]:
    """``views`` by container id, with a warning at each container that is routed and has a label ``wait``."""
    return {id: _noted(view) for id, view in views.items()}


def _noted(view: View) -> View:
    waits = dict.fromkeys(
        f"label {_label(view, route.name)}: {no_queue(route.options.wait)}"
        for route in view.facts.labels.routes
        if route.options.wait
    )
    return replace(view, warnings=(*view.warnings, *waits)) if waits else view


def _label(view: View, route: str) -> str:
    """The label that says it for ``route``: its own, else the one for all."""
    own = f"{view.facts.prefix}.{route}.wait"
    return own if own in view.facts.container.labels else f"{view.facts.prefix}.wait"
