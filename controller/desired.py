"""What should be routed, and the seam to whoever makes it so.  Pure: no clock, no I/O, equal input gives equal output.

Each container makes an :class:`Offer`; :func:`assemble` brings all offers together: one algorithm a key (the oldest
container's), one container an address (the one started last).  A :class:`Route` is one desired node; the whole desired
state is a mapping from (key, address, owner) to Route.  A :class:`Sink` (routers, nginx) takes the whole state each
time and makes it so; it knows nothing of Docker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fastroute.router.subscription import Entry

RouteKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """One desired node.  ``entry`` is what goes on the wire: without an address, the key is known and has no node now.

    ``entry.owner`` is ``CONTAINER-ID@STARTED-AT``; ``container`` is the container's name, for people.
    """

    entry: Entry
    container: str

    @property
    def id(self) -> RouteKey:
        """What makes this route itself: (key, address, owner)."""
        return self.entry.key, self.entry.address, self.entry.owner


Desired = Mapping[RouteKey, Route]


class Sink(Protocol):
    """Who makes the desired state real.  Both calls come from the deciding thread and never block."""

    def apply(self, desired: Desired) -> None:
        """Make ``desired`` (the whole of it) so; what is not in it leaves, and leaves first."""
        ...

    def status(self) -> dict[str, object]:
        """What people should see of this sink, as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A probe: of one start of a container (``owner``), at ``address``.  ``path`` empty: the port only; ``host``: the
    host name that the GET carries; ``round``: another round is another probe."""

    owner: str
    address: str
    protocol: str
    path: str
    host: str
    round: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What one container contributes.  ``routes`` may serve now (an entry without address: the key is known);
    ``shown`` are its (key, address) for people; ``targets`` wait for a probe; ``soon``: look again shortly."""

    id: str
    name: str
    project: str
    created_ns: int
    started_ns: int
    state: str
    reason: str
    health: str
    routes: tuple[Route, ...] = ()
    shown: tuple[tuple[str, str], ...] = ()
    networks: frozenset[str] = frozenset()
    targets: tuple[Target, ...] = ()
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Desired routes; warnings by container id; ``displaced``: containers whose address another one has by now."""

    routes: Desired
    warnings: Mapping[str, tuple[str, ...]]
    displaced: frozenset[str]


def assemble(offers: Iterable[Offer]) -> Outcome:
    """The desired state that all ``offers`` together make."""
    ordered = sorted(offers, key=lambda offer: (offer.created_ns, offer.id))
    warnings: dict[str, list[str]] = {}
    algorithms = _algorithms(ordered, warnings)
    _warn_of_projects(ordered, warnings)
    holders = _holders(ordered)
    routes: dict[RouteKey, Route] = {}
    displaced: set[str] = set()
    for offer in ordered:
        for route in offer.routes:
            entry, algorithm = route.entry, algorithms.get(route.entry.key, "")
            holder = holders.get(entry.address, offer)
            if holder is not offer:
                displaced.add(offer.id)
                _warn(warnings, offer, f"its address {entry.address} is container {holder.name}'s by now")
                route = Route(replace(entry, address="", weight=1, drain=False), route.container)
            if entry.algorithm != algorithm:
                route = Route(replace(route.entry, algorithm=algorithm), route.container)
            routes[route.id] = route
    return Outcome(routes, {at: tuple(texts) for at, texts in warnings.items()}, frozenset(displaced))


def _algorithms(ordered: list[Offer], warnings: dict[str, list[str]]) -> dict[str, str]:
    """Key to algorithm: that of the oldest container which names one, those that serve before those that don't."""
    chosen: dict[str, tuple[str, Offer]] = {}
    for serving in (True, False):
        for offer in ordered:
            for entry in (route.entry for route in offer.routes if bool(route.entry.address) is serving):
                if not entry.algorithm:
                    continue
                word, winner = chosen.setdefault(entry.key, (entry.algorithm, offer))
                if word != entry.algorithm:
                    text = f"algorithm of {entry.key}: {word} by container {winner.name} wins over {entry.algorithm}"
                    text += f" by container {offer.name}"
                    _warn(warnings, winner, text)
                    _warn(warnings, offer, text)
    return {key: word for key, (word, _) in chosen.items()}


def _warn_of_projects(ordered: list[Offer], warnings: dict[str, list[str]]) -> None:
    first: dict[str, Offer] = {}
    for offer in ordered:
        for key in {route.entry.key: None for route in offer.routes}:
            other = first.setdefault(key, offer)
            if other.project != offer.project and other.project and offer.project:
                text = f"{key} is served by two compose projects, {other.project} (container {other.name})"
                text += f" and {offer.project} (container {offer.name})"
                _warn(warnings, other, text)
                _warn(warnings, offer, text)


def _holders(ordered: list[Offer]) -> dict[str, Offer]:
    """Address to the container that has it: Docker hands out a freed address at once, so the last start counts."""
    holders: dict[str, Offer] = {}
    for offer in ordered:
        for route in offer.routes:
            if route.entry.address:
                other = holders.setdefault(route.entry.address, offer)
                if (offer.started_ns, offer.id) > (other.started_ns, other.id):
                    holders[route.entry.address] = offer
    return holders


def _warn(warnings: dict[str, list[str]], offer: Offer, text: str) -> None:
    texts = warnings.setdefault(offer.id, [])
    if text not in texts:
        texts.append(text)
