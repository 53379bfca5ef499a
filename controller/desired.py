"""What should be routed, and the seam to whoever makes it so.  Pure: no clock, no I/O, equal input gives equal output.

A :class:`Route` is one desired node; the whole desired state is a mapping from (key, address, owner) to Route.  A
:class:`Sink` (routers, nginx) takes the whole state each time and makes it so; it knows nothing of Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
