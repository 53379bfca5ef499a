"""Sources that fall silent, come back, or are lost: what they announced becomes stale, fresh again, or leaves.  Pure.

What becomes stale or leaves by time is much at once, so it goes a part at a time: nobody else's change waits for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from fastroute.router.control.table.membership import Note
from fastroute.router.control.table.sources import Claim, RecordId, Source

#: Seconds that a source must have been silent to be lost by another one's word: more than a heartbeat.
LOST_SILENCE = 7.0
#: Claims that time takes, or makes stale, in one go: some 5 ms.
EXPIRY_SLICE = 500
_MACHINE_DOWN = "its machine is down"


class Silences:
    """``tolerance``: seconds of silence after which a source counts as silent; ``stale_max``: seconds that its claims
    are kept.  ``judge`` looks whether the members of a claim are stale; ``drop`` takes a claim away, for a reason."""

    def __init__(
        self,
        tolerance: float,
        stale_max: float,
        notes: list[Note],
        judge: Callable[[Claim], None],
        drop: Callable[[RecordId, float, str], None],
    ) -> None:
        self._tolerance, self._stale_max = tolerance, stale_max
        self._notes, self._judge, self._drop = notes, judge, drop

    def hear(self, source: Source, now: float) -> None:
        """``source`` speaks."""
        source.seen, source.lost_by = now, ""
        if source.silent:
            source.silent = False
            source.unjudged.clear()
            for claim in source.claims.values():
                self._judge(claim)
            self._notes.append(Note("source", "", text=f"{source.name} is back"))

    def age(self, source: Source, now: float, limit: int) -> int:
        """Time passes for ``source``: how many of its claims it took, ``limit`` at most."""
        silence = now - source.seen
        if not source.silent and source.claims and silence >= self._tolerance:
            source.silent = True
            source.unjudged = list(source.claims)
            text = f"{source.name} is silent for {self._tolerance:g} s: its {source.count} entries are kept as stale"
            self._notes.append(Note("stale", "", text=text))
        taken = self._judge_some(source, limit)
        if source.lost_by:
            taken += self._drop_some(source, limit - taken, now, _MACHINE_DOWN)
        elif source.silent and silence >= self._stale_max:
            reason = f"{source.name} was silent for {self._stale_max:g} s"
            taken += self._drop_some(source, limit - taken, now, reason)
        return taken

    def forgotten(self, source: Source, now: float) -> bool:
        """Whether ``source`` has nothing and was silent for so long that its order need not be known any more."""
        return not source.claims and now - source.seen >= max(self._stale_max, self._tolerance)

    def lose(self, lost: Source, teller: str, now: float) -> None:
        """``teller`` says that the machine of ``lost`` is down.  One that speaks to us is there for us, whoever else
        can't reach it."""
        if lost.lost_by or not lost.claims or now - lost.seen < LOST_SILENCE:
            return
        lost.lost_by = teller
        text = f"{lost.name} is lost: {teller} says that its machine is down; its {lost.count} entries leave"
        self._notes.append(Note("source", "", text=text))
        self._drop_some(lost, EXPIRY_SLICE, now, _MACHINE_DOWN)

    def _judge_some(self, source: Source, limit: int) -> int:
        records, source.unjudged = source.unjudged[-limit:], source.unjudged[:-limit]
        for record in records:
            if (claim := source.claims.get(record)) is not None:
                self._judge(claim)
        return len(records)

    def _drop_some(self, source: Source, limit: int, now: float, reason: str) -> int:
        records = list(itertools.islice(source.claims, limit))
        for record in records:
            self._drop(record, now, reason)
        return len(records)
