"""What should be routed, and the seam to whoever makes it so.  The vocabulary; frozen, no behaviour.

Each container makes an :class:`Offer`; :mod:`.assembly` brings all offers together.  A :class:`Route` is one desired
node; the whole desired state is a mapping from (key, address, owner) to Route.  A :class:`Sink` (routers, nginx) takes
the whole state each time and makes it so; it knows nothing of Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Shown:
    """One route for people: where it goes (``address`` empty: nowhere) and why there; ``state`` and ``reason`` are this
    route's; ``drained``: by its label or an operator."""

    key: str
    address: str
    why: str
    port: int
    state: str
    reason: str
    weight: int
    drained: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What one container contributes.  ``owner``: this start of it (empty: it does not run); ``routes`` may serve now
    (an entry without address: the key is known); ``shown`` are all for people; ``spaces``: whose ports those at an
    address are; ``targets`` wait for a probe; ``soon``: look again soon."""

    id: str
    name: str
    owner: str
    project: str
    created_ns: int
    started_ns: int
    state: str
    reason: str
    health: str
    routes: tuple[Route, ...] = ()
    shown: tuple[Shown, ...] = ()
    networks: frozenset[str] = frozenset()
    spaces: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    soon: bool = False
