"""The keys that operators hold in a state: paused, or in maintenance.  Pure; `now` is time.monotonic.

A state comes as an entry of a source (the operator of this router, or a controller), so that order, snapshots and full
announcements are those of all entries (table.py).  Here is what a state has beside its entry: its end.  Where several
sources hold one key, the operator's own word counts, then the highest name among controllers, so that none flaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastroute.router.control.table.membership import Note, NoteKind
from fastroute.router.control.table.sources import RecordId
from fastroute.router.protocol.key_state import PAUSED, AnnouncedState


@dataclass(slots=True)
class HeldState:
    """A state of a key that a record asks for."""

    state: AnnouncedState
    #: Monotonic time of its end; None: it has none.
    until: float | None
    #: The time is over; its source has not taken it back yet.
    over: bool = False

    def left(self, now: float) -> float | None:
        """Seconds that it still lasts; None: it has no end."""
        return None if self.until is None else max(0.0, self.until - now)


class KeyStates:
    """All states, by key and record.  ``notes`` takes what people should know; ``dirty`` are the keys that relays have
    to be told of."""

    def __init__(self, notes: list[Note]) -> None:
        self.dirty: dict[str, None] = {}
        self._notes = notes
        self._by_key: dict[str, dict[RecordId, HeldState]] = {}

    def of(self, key: str) -> HeldState | None:
        """What ``key`` is held in; None: it serves."""
        record = self.holder(key)
        return None if record is None else self._by_key[key][record]

    def holder(self, key: str) -> RecordId | None:
        """Whose state counts for ``key``; None: it serves."""
        held = self._by_key.get(key)
        if held is None:
            return None
        active = [record for record, state in held.items() if not state.over]
        return max(active, key=lambda record: (record.rank, record), default=None)

    def state(self, record: RecordId) -> AnnouncedState:
        """What ``record`` asks for."""
        return self._by_key[record.key][record].state

    def records(self, key: str) -> list[RecordId]:
        """Who holds ``key`` in a state, or did until its time was over."""
        return list(self._by_key.get(key, ()))

    def held(self) -> Iterator[HeldState]:
        """What each held key is held in."""
        return (state for key in self._by_key if (state := self.of(key)) is not None)

    def put(self, record: RecordId, state: AnnouncedState, now: float) -> None:
        """``record`` asks for ``state``; if it did before, the end stays."""
        before, held = self.of(record.key), self._by_key.setdefault(record.key, {})
        if (old := held.get(record)) is None or old.state != state:
            held[record] = HeldState(state, now + state.seconds if state.seconds else None)
        self._tell(record.key, before, f"by {record.source}")

    def take(self, record: RecordId, why: str) -> None:
        """``record`` asks for none any more."""
        before, held = self.of(record.key), self._by_key.get(record.key, {})
        held.pop(record, None)
        if not held:
            self._by_key.pop(record.key, None)
        self._tell(record.key, before, why)

    def due(self, now: float) -> list[RecordId]:
        """The records whose time is over."""
        return [
            record
            for held in self._by_key.values()
            for record, state in held.items()
            if not state.over and state.until is not None and state.until <= now
        ]

    def end(self, record: RecordId) -> None:
        """The time of ``record`` is over."""
        before = self.of(record.key)
        self._by_key[record.key][record].over = True
        self._tell(record.key, before, "its time is over")

    def _tell(self, key: str, before: HeldState | None, why: str) -> None:
        """Relays and people are to know what ``key`` is held in now, if that is something else than ``before``."""
        held = self.of(key)
        if held is before:
            return
        self.dirty[key] = None
        if held is None:
            self._notes.append(Note("key-resumed", key, text=why))
        else:
            kind: NoteKind = "key-paused" if held.state.name == PAUSED else "key-maintenance"
            self._notes.append(Note(kind, key, text=f"{held.state.text}; {why}"))

    def rows(self, now: float) -> list[list[Any]]:
        """The ends, for the snapshot: record, and seconds that are left (None: no end)."""
        return [
            [*record, None if state.until is None else state.until - now]
            for held in self._by_key.values()
            for record, state in held.items()
        ]

    def restore(self, ends: Iterable[tuple[RecordId, float | None]], now: float) -> None:
        """The seconds left of :meth:`rows`, for the records that are there again."""
        for record, left in ends:
            if (state := self._by_key.get(record.key, {}).get(record)) is not None:
                state.until = None if left is None else now + left
