"""Keys without a node that hide somebody else's: what ``ps`` and ``describe`` say of them.  Pure.

A key is known as long as a labelled container has it, running or not: its requests get 503, so that a deploy is no 404.
So a stopped container with an exact name hides the container that serves the wildcard above it, for as long as it is
there.  That is what the labels say; people should see it, and the cure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fastroute.controller.views import View
from fastroute.router.protocol.key import less_specific


def noted(views: Mapping[str, View]) -> dict[str, View]:
    """``views`` by container id, with a warning at each container whose key hides another one's."""
    serving = {status.key: view for view in views.values() for status in view.offer.statuses if status.state == "ready"}
    known = {route.entry.key for view in views.values() for route in view.offer.routes}
    return {id: _noted(view, serving, known) for id, view in views.items()}


def _noted(view: View, serving: Mapping[str, View], known: set[str]) -> View:
    keys = dict.fromkeys(route.entry.key for route in view.offer.routes if route.entry.key not in serving)
    texts = [text for key in keys if (text := _hides(key, serving, known, view.facts.prefix))]
    return replace(view, warnings=(*view.warnings, *texts)) if texts else view


def _hides(key: str, serving: Mapping[str, View], known: Iterable[str], prefix: str) -> str:
    for other in less_specific(key):
        if other in serving:
            name = serving[other].offer.name
            cure = f"remove this container, or label that one {prefix}.rest.key={key} and {prefix}.rest.backup=1"
            return f"{key} is answered 503 and not by container {name}, which serves {other}: {cure}"
        if other in known:
            # Removing this one would not help: the next one hides it, too, and says so itself.
            return ""
    return ""
