"""What people see: one view a container, written by the deciding thread and read by others without a lock.  Pure.

Each change of a view becomes one entry of the event log, when it happens and not at every comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastroute.controller.decide.messages import Write, WriteEvent
from fastroute.controller.desired import ContainerRoutes, RouteDiff
from fastroute.controller.views import Facts, View, moved


class StatusStore:
    """Views by container id.  ``write`` takes what the event log should say."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._views: dict[str, View] = {}
        self._warnings: Mapping[str, tuple[str, ...]] = {}

    def views(self) -> dict[str, View]:
        """All views as of now; the caller's own."""
        return self._views.copy()

    def show(self, id: str, offer: ContainerRoutes | None, facts: Facts | None, timestamp: str) -> None:
        """What container ``id`` offers since ``timestamp`` (``None``: it is gone, or not ours)."""
        view = self._views.get(id)
        if offer is None or facts is None:
            if view is not None:
                last = self._views.pop(id).offer
                self._write(WriteEvent("state", f"{last.state} -> gone", last.name, id))
            return
        if view and offer == view.offer:
            if facts != view.facts:
                self._views[id] = moved(view, offer, facts, view.warnings, timestamp)
            return
        before = view.offer.state if view else "new"
        if view is None or (before, view.offer.reason) != (offer.state, offer.reason):
            self._write(WriteEvent("state", f"{before} -> {offer.state}: {offer.reason}", offer.name, id))
        self._views[id] = moved(view, offer, facts, self._warnings.get(id, ()), timestamp)

    def warn(self, warnings: Mapping[str, tuple[str, ...]], timestamp: str) -> None:
        """All warnings as of now, by container id; a new one is written once, however many containers it is about."""
        reported = {text for texts in self._warnings.values() for text in texts}
        for id in sorted(warnings.keys() | self._warnings.keys()):
            texts, view = warnings.get(id, ()), self._views.get(id)
            for text in texts:
                if text not in reported:
                    reported.add(text)
                    self._write(WriteEvent("warning", text, view.offer.name if view else id[:12], id))
            if view and view.warnings != texts:
                self._views[id] = moved(view, view.offer, view.facts, texts, timestamp)
        self._warnings = warnings

    def write_diff(self, diff: RouteDiff) -> None:
        """Write what the event log says of routes that leave, change and join."""
        for event in route_events(diff):
            self._write(event)


def route_events(diff: RouteDiff) -> Iterator[WriteEvent]:
    """What the event log says of each node that leaves, changes or joins."""
    for word, routes in (("removed", diff.leave), ("changed", diff.change), ("added", diff.join)):
        for entry, name in ((route.entry, route.container) for route in routes if route.entry.address):
            text = f"{entry.key} => node {word}: {entry.address}"
            yield WriteEvent("route", text, name, entry.owner.partition("@")[0] if name else "", entry.key)
