"""What one browser gets next: only what has changed since it got something, and never more than it can take.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Rows of one table in one piece: the others come in the pieces after it, what is new or changed its state first.
MAX_ROWS = 400

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TablePiece:
    """A change of a table."""

    rows: Mapping[str, Row]
    gone: list[str]

    def to_json(self) -> dict[str, object]:
        """As browsers get it."""
        return {"set": self.rows, "gone": self.gone}

    def __bool__(self) -> bool:
        return bool(self.rows or self.gone)


class SentTable:
    """What a browser has of one table."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        #: In which piece each row was sent last.
        self._pieces: dict[str, int] = {}
        self._piece = 0
        #: Whether rows are missing that the browser has not got at all.
        self.incomplete = False

    def next(self, rows: Mapping[str, Row]) -> TablePiece:
        """The piece that brings the browser nearer to ``rows``."""
        self._piece += 1
        gone = [id for id in self._rows if id not in rows]
        for id in gone:
            del self._rows[id], self._pieces[id]
        changed = [id for id, row in rows.items() if self._rows.get(id) != row]
        if len(changed) > MAX_ROWS:
            changed.sort(key=lambda id: self._urgency(id, rows[id]))
        chosen = {id: rows[id] for id in changed[:MAX_ROWS]}
        self._rows |= chosen
        self._pieces |= dict.fromkeys(chosen, self._piece)
        self.incomplete = len(self._rows) < len(rows)
        return TablePiece(chosen, gone)

    def _urgency(self, id: str, row: Row) -> tuple[bool, int]:
        """New rows and new states first, then those that have waited the longest."""
        before = self._rows.get(id)
        news = before is None or (before.get("level"), before.get("state")) != (row.get("level"), row.get("state"))
        return not news, self._pieces.get(id, 0)


class SentValues:
    """What a browser has of single values."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def next(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are not what it has."""
        news = (name for name, value in values.items() if name not in self._values or self._values[name] != value)
        changed = {name: values[name] for name in news}
        self._values |= changed
        return changed
