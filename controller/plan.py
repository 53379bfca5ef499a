"""From what was told last to what is desired now: the difference, withdrawals first.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.controller.desired import Desired, Route


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change.  ``leave`` comes before ``change`` and ``join``: an address may have a new holder."""

    leave: tuple[Route, ...] = ()
    change: tuple[Route, ...] = ()
    join: tuple[Route, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.leave or self.change or self.join)


def plan(applied: Desired, desired: Desired) -> Plan:
    """What leads from ``applied`` to ``desired``, each part in the order of its keys and addresses."""
    return Plan(
        tuple(applied[at] for at in sorted(applied.keys() - desired.keys())),
        tuple(desired[at] for at in sorted(desired.keys() & applied.keys()) if desired[at].entry != applied[at].entry),
        tuple(desired[at] for at in sorted(desired.keys() - applied.keys())),
    )
