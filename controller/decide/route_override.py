"""What holds for one route over what its labels say.  Pure; the vocabulary of overrides and switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteOverride:
    """``weight`` None: as the label says; 0 means drained."""

    drain: bool = False
    weight: int | None = None
    #: Why a switch of the key keeps new requests away; empty: none does.
    switch: str = ""
    #: With ``drain`` or ``switch``: seconds for which clients that stay with it (``sticky``) still get it.
    sessions: float = 0.0

    @property
    def drains(self) -> bool:
        """True when the route gets no new requests."""
        return self.drain or self.weight == 0 or bool(self.switch)

    @property
    def keeps_sessions(self) -> bool:
        """Whether ``sessions`` counts."""
        return self.drain or bool(self.switch)

    def __bool__(self) -> bool:
        return self.drain or self.weight is not None or bool(self.switch)


KeyPort = tuple[str, int]
OverrideMap = Mapping[KeyPort, RouteOverride]
