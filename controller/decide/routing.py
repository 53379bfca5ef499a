"""The last offer of every container, what they make together, and what people see of it.  Pure.

An offer says what its container would like to serve; :mod:`.assembly` may refuse it (an address or a key that is
another's).  People see such a container in state ``error`` with the reason, never first as ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastroute.controller.decide.assembly import Assembly
from fastroute.controller.decide.messages import Write
from fastroute.controller.decide.status_store import StatusStore
from fastroute.controller.desired import ContainerRoutes, Desired, RouteDiff
from fastroute.controller.views import Facts


class Routing:
    """All offers of one engine.  ``statuses`` is what people look at; ``write`` takes what the event log should say."""

    def __init__(self, write: Write, *, exclusive: bool) -> None:
        self.statuses = StatusStore(write)
        #: Something changed that the sink was not given yet.
        self.unapplied = False
        #: The difference from the state that was taken last to the present one; ``None``: none was taken yet.
        self._diff: RouteDiff | None = None
        self._assembly = Assembly(exclusive=exclusive)
        self._known: dict[str, tuple[ContainerRoutes, Facts]] = {}
        self._evaluated: set[str] = set()
        self._changed: set[str] = set()

    @property
    def due(self) -> float | None:
        """When :meth:`settle` has to be called although nothing was put (monotonic seconds)."""
        return self._assembly.due

    def put(self, id: str, offer: ContainerRoutes | None, facts: Facts | None) -> bool:
        """What container ``id`` offers now (``None``: it is gone, or not ours); false when that was known."""
        known = self._known.pop(id, None)
        if offer is not None and facts is not None:
            self._known[id] = offer, facts
        self._evaluated.add(id)
        if offer == (known[0] if known else None):
            return False
        self._changed.add(id)
        return True

    def settle(self, now: float, timestamp: str) -> frozenset[str]:
        """Bring all offers together.  Returns the ids of containers that have to be inspected again, because another
        container has their address by now.  ``now`` is monotonic, ``timestamp`` the same moment as people read it."""
        before, looks = self._assembly.refused, frozenset[str]()
        due = self._assembly.due
        if self._changed or (due is not None and due <= now):
            diff = self._assembly.update({id: self._offer(id) for id in self._changed}, now)
            if diff:
                self.unapplied = True
                if self._diff is not None:
                    assert not self._diff, "each change is taken before the next one is made"
                    self._diff = diff
            looks, self._changed = self._assembly.displaced, set()
        refused = self._assembly.refused
        moved = {id for id in before.keys() | refused.keys() if before.get(id) != refused.get(id)}
        for id in sorted(self._evaluated | moved):
            offer, facts = self._known.get(id, (None, None))
            self.statuses.show(id, offer and _amended(offer, refused.get(id, {})), facts, timestamp)
        if self._evaluated:
            self.statuses.warn(self._assembly.warnings, timestamp)
        self._evaluated = set()
        return looks

    def take_diff(self) -> tuple[Desired, RouteDiff]:
        """The whole desired state, for a sink, and its difference from the last state that was taken."""
        routes = self._assembly.routes.copy()
        diff = RouteDiff.between({}, routes) if self._diff is None else self._diff
        self.statuses.write_diff(diff)
        self.unapplied, self._diff = False, RouteDiff()
        return routes, diff

    def _offer(self, id: str) -> ContainerRoutes | None:
        known = self._known.get(id)
        return known[0] if known else None


def _amended(offer: ContainerRoutes, refused: Mapping[str, str]) -> ContainerRoutes:
    """``offer`` as people see it when some of its keys (to reasons) are refused."""
    if not refused:
        return offer
    statuses = tuple(
        replace(status, state="error", reason=refused[status.key]) if status.key in refused else status
        for status in offer.statuses
    )
    return replace(offer, state="error", reason="; ".join(dict.fromkeys(refused.values())), statuses=statuses)
