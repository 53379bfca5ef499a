"""The values that the templates of a key get, besides its upstream.  Pure; users' templates read these names, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassTarget:
    """Where requests are passed."""

    #: ``uwsgi`` or ``http``; else why requests are not passed: ``no-key`` or ``no-node``.
    kind: str
    #: The name of the upstream; empty where requests are not passed.
    upstream: str = ""
    modifier1: int = 0
    modifier2: int = 0
    #: Answers with an error count as failures of their node.
    ejects: bool = False


@dataclass(frozen=True, slots=True)
class PortTarget:
    """Where requests are passed whose Host header has a port of its own key."""

    number: str
    target: PassTarget


@dataclass(frozen=True, slots=True)
class LocationValues:
    """One path of a host: what ``location.conf.j2`` gets."""

    #: What stands behind ``location``.
    selectors: tuple[str, ...]
    target: PassTarget
    ports: tuple[PortTarget, ...]
    #: The include of the user that is read here.
    include: str | None
    #: The location where server-sent events go on.
    events: str | None
    #: The file that has the location; None: it stands in the server's own.
    file: str | None
    #: A request whose answer is an error goes to another node, if it may be sent again, and counts as a failure.
    ejects: bool = False

    @property
    def speaks_uwsgi(self) -> bool:
        """Whether any request is passed by the uwsgi protocol."""
        return "uwsgi" in self._kinds

    @property
    def speaks_http(self) -> bool:
        """Whether any request is passed by HTTP."""
        return "http" in self._kinds

    @property
    def answers(self) -> bool:
        """Whether nginx answers any request itself."""
        return not self._kinds <= {"uwsgi", "http"}

    @property
    def modifier1(self) -> int:
        """The modifier of all uwsgi requests here: nginx can't tell them apart by port."""
        return next((target.modifier1 for target in self._targets if target.kind == "uwsgi"), 0)

    @property
    def modifier2(self) -> int:
        """As :attr:`modifier1`."""
        return next((target.modifier2 for target in self._targets if target.kind == "uwsgi"), 0)

    @property
    def _targets(self) -> list[PassTarget]:
        return [self.target, *(port.target for port in self.ports)]

    @property
    def _kinds(self) -> set[str]:
        return {target.kind for target in self._targets}


@dataclass(frozen=True, slots=True)
class ServerValues:
    """The server of a host: what ``server.conf.j2`` gets as ``place``."""

    host: str
    locations: tuple[LocationValues, ...]
