"""What should be routed, and the seam to whoever makes it so.  Pure: the vocabulary, frozen, and the one difference.

Each container offers :class:`ContainerRoutes`; :mod:`.assembly` brings all offers together.  A :class:`Route` is one
desired node; the whole desired state is a mapping from (key, address, owner) to Route.  A :class:`Sink` (routers,
nginx) takes the whole state each time, with the :class:`RouteDiff` that leads there, and makes it so; it knows nothing
of Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fastroute.router.protocol.subscription import Entry

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


@dataclass(frozen=True, slots=True)
class RouteDiff:
    """What leads from one desired state to the next.  An address may have a new holder, so ``leave`` comes first."""

    leave: tuple[Route, ...] = ()
    change: tuple[Route, ...] = ()
    join: tuple[Route, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.leave or self.change or self.join)

    @classmethod
    def between(cls, before: Desired, after: Desired) -> RouteDiff:
        """From ``before`` to ``after``, each part in the order of keys and addresses."""
        return cls(
            tuple(before[at] for at in sorted(before.keys() - after.keys())),
            tuple(after[at] for at in sorted(after.keys() & before.keys()) if after[at].entry != before[at].entry),
            tuple(after[at] for at in sorted(after.keys() - before.keys())),
        )


class Sink(Protocol):
    """Makes the desired state of one source real.  The call comes from the deciding thread and never blocks."""

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        """Make ``desired`` (the whole of it) so; ``diff`` is what leads there from what was applied before."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What a probe is for.

    * ``owner``: one start of a container.
    * ``path``: what to GET; empty: the port has to accept, no more.
    * ``host``: the host name that the GET carries.
    * ``round``: a probe of another round is another probe.
    """

    owner: str
    address: str
    protocol: str
    path: str
    host: str
    round: int


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """One route for people.

    * ``address``: where it goes; empty: nowhere.
    * ``why``: the reason for that address.
    * ``state`` and ``reason``: of this route, not of the container.
    * ``drained``: by its label, by an operator or by a switch of its key.
    * ``serves``: it is ready to; unless it is drained, it does.
    * ``switched``: a switch of its key keeps new requests away.
    """

    key: str
    address: str
    why: str
    port: int
    state: str
    reason: str
    weight: int
    drained: bool
    serves: bool = False
    switched: bool = False


@dataclass(frozen=True, slots=True)
class ContainerRoutes:
    """What one container offers."""

    id: str
    name: str
    #: This start of the container; empty: it does not run.
    owner: str
    #: Its compose project; empty: it has none.
    project: str
    created_ns: int
    started_ns: int
    state: str
    reason: str
    #: Docker's word; empty: it has no HEALTHCHECK.
    health: str
    #: Routes that may serve now; an entry without an address says that the key is known.
    routes: tuple[Route, ...] = ()
    #: All its routes, for people.
    statuses: tuple[RouteStatus, ...] = ()
    #: Names of the networks of its addresses.
    networks: frozenset[str] = frozenset()
    #: By address: to whom the ports there belong (see ``FoundAddress.port_namespace``).
    port_namespaces: Mapping[str, str] = field(default_factory=dict)
    #: The probes that it waits for.
    probe_targets: tuple[ProbeTarget, ...] = ()
    #: Docker has not handed out an address yet: look again soon.
    retry_soon: bool = False
