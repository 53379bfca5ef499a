"""The screen of ``top``: which rows in which order, what keys do, and the lines of one frame.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import set_cell_size

from fastroute.ctl.top_rows import (
    arranged,
    container_name,
    errors,
    filtered,
    milliseconds,
    number,
    running,
    state_text,
    totals,
)
from fastroute.router.protocol.key import shown_key
from fastroute.router.runtime.logs import printable

#: A key of the keyboard -> what rows are sorted by.
_SORT_KEYS = {"r": "rate", "e": "errors", "p": "p95", "w": "waiting", "n": "name"}
#: Escape sequences of terminals -> names of keys.
_SEQUENCES = {
    "[A": "up", "[B": "down", "OA": "up", "OB": "down", "[5~": "page-up", "[6~": "page-down", "[H": "home",
    "[F": "end", "OH": "home", "OF": "end", "[1~": "home", "[4~": "end",
}  # fmt: skip
_KEYS = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Z])?|.", re.DOTALL)
#: Headings of the columns behind the name, each with its width and the sort that it shows.
_COLUMNS = (("RATE/S", 8, "rate"), ("5XX/S", 7, "errors"), ("P50 MS", 8, ""), ("P95 MS", 8, "p95"), ("RUN", 6, ""),
            ("WAIT", 6, "waiting"), ("STATE", 11, ""))  # fmt: skip
_MIN_NAME = 12
_HELP = "sort: r rate e errors p p95 w waiting n name   t nodes  / filter  f freeze  q quit"
_RED, _YELLOW, _BOLD, _REVERSED, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[7m", "\x1b[0m"


@dataclass(slots=True)
class TopNumbers:
    """The numbers of all routers at one time, added up; ``troubles`` says which did not answer, and why."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    #: Names of containers by id.
    names: Mapping[str, str] = field(default_factory=dict)
    #: How many routers answered.
    routers: int = 0
    troubles: Sequence[str] = ()


def pressed(data: str) -> list[str]:
    """The keys in what a terminal sent."""
    keys = []
    for match in _KEYS.finditer(data):
        if match[0][0] != "\x1b":
            keys.append(match[0])
        elif not match[1]:
            keys.append("escape")
        elif match[1] in _SEQUENCES:
            keys.append(_SEQUENCES[match[1]])
    return keys


@dataclass(slots=True)
class TopView:
    """What the person at the keyboard has chosen."""

    sort: str = "rate"
    text: str = ""
    nodes: bool = True
    frozen: bool = False
    over: bool = False
    #: The filter is being written.
    editing: bool = False
    #: The first row on the screen.
    first: int = 0
    #: Rows that fit, as of the last frame.
    page: int = 10

    def press(self, key: str) -> None:
        """Somebody pressed ``key``."""
        if self.editing:
            self._edit(key)
        elif key in _SORT_KEYS:
            self.sort, self.first = _SORT_KEYS[key], 0
        elif key == "/":
            self.editing = True
        elif key == "escape":
            self.text, self.first = "", 0
        elif key in ("f", " "):
            self.frozen = not self.frozen
        elif key == "t":
            self.nodes = not self.nodes
        elif key == "q":
            self.over = True
        else:
            steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -self.page, "page-down": self.page,
                     "home": -self.first, "end": 1 << 30}  # fmt: skip
            self.first = max(0, self.first + steps.get(key, 0))

    def _edit(self, key: str) -> None:
        self.first = 0
        if key in ("\r", "\n"):
            self.editing = False
        elif key == "escape":
            self.editing, self.text = False, ""
        elif key in ("\x7f", "\b"):
            self.text = self.text[:-1]
        elif len(key) == 1 and key.isprintable():
            self.text += key

    def frame(self, numbers: TopNumbers, columns: int, lines: int, clock: str, colour: bool = True) -> list[str]:
        """The screen: never more than ``lines`` lines, none wider than ``columns``."""
        paint = _Paint(columns, colour)
        rows = self._rows(numbers)
        head = [paint.line(_headline(numbers, clock, self.frozen), _BOLD)]
        head += [paint.line(printable(trouble), _RED) for trouble in numbers.troubles]
        head.append(paint.line(_heading(columns, self.sort), _REVERSED))
        foot = [paint.line(f"filter: {printable(self.text)}_" if self.editing else self._help(len(rows)))]
        self.page = max(1, lines - len(head) - len(foot))
        self.first = max(0, min(self.first, len(rows) - self.page))
        visible = rows[self.first : self.first + self.page]
        body = [paint.line(_row_text(row, numbers.names, columns), _colour(row)) for row in visible]
        if not rows:
            body = [paint.line("no key has this in its name" if self.text else "no keys")]
        return [*head, *body, *foot][:lines]

    def _rows(self, numbers: TopNumbers) -> list[dict[str, Any]]:
        keys = arranged(filtered(numbers.keys, self.text, numbers.names), self.sort)
        return [row for key in keys for row in (key, *(key["nodes"] if self.nodes else ()))]

    def _help(self, rows: int) -> str:
        parts = [f"{self.first + 1}-{min(self.first + self.page, rows)}/{rows}"] if rows > self.page else []
        if self.text:
            parts.append(f"filter: {printable(self.text)} (Esc ends it)")
        return "  ".join([*parts, _HELP])


class _Paint:
    def __init__(self, columns: int, colour: bool) -> None:
        self._columns, self._colour = columns, colour

    def line(self, text: str, style: str = "") -> str:
        """``text`` as wide as the screen or cut there."""
        text = set_cell_size(text, self._columns).rstrip() if style != _REVERSED else set_cell_size(text, self._columns)
        return f"{style}{text}{_PLAIN}" if style and self._colour else text


def _headline(numbers: TopNumbers, clock: str, frozen: bool) -> str:
    sums = totals(numbers.keys)
    routers = f"{numbers.routers} router{'' if numbers.routers == 1 else 's'}"
    return (
        f"{clock}{' FROZEN' if frozen else ''}  {routers}  {number(sums['rate'])} requests/s"
        f"  {number(sums['error_rate'])} 5xx/s  {sums['in_flight']} running  {sums['waiting']} waiting"
    )


def _name_width(columns: int) -> int:
    return max(_MIN_NAME, columns - sum(width for _, width, _ in _COLUMNS))


def _heading(columns: int, sort: str) -> str:
    cells = [f"{'*' if shows == sort else ''}{name}" for name, _, shows in _COLUMNS]
    return _cells(f"{'*' if sort == 'name' else ''}KEY / NODE", cells, columns)


def _row_text(row: Mapping[str, Any], names: Mapping[str, str], columns: int) -> str:
    is_key = "nodes" in row
    name = shown_key(row["key"]) if is_key else f"  {row['address']} {container_name(row, names)}"
    waiting = str(row["waiting"]) if is_key and row["waiting"] else ""
    cells = (number(row["rate"]), errors(row), milliseconds(row["p50_ms"]), milliseconds(row["p95_ms"]),
             str(running(row)), waiting, state_text(row))  # fmt: skip
    return _cells(name, cells, columns)


def _cells(name: str, cells: Sequence[str], columns: int) -> str:
    width = _name_width(columns)
    numbers = "".join(cell.rjust(room) for cell, (_, room, _) in zip(cells, _COLUMNS, strict=True))
    return set_cell_size(printable(name), width - 1) + " " + printable(numbers)


def _colour(row: Mapping[str, Any]) -> str:
    if "nodes" in row:
        if row["state"] != "serving" or row["waiting"]:
            return _YELLOW
        bad = row["ready"] == 0
    else:
        if row["state"] in ("draining", "stale"):
            return _YELLOW
        bad = row["state"] == "ejected"
    if bad or row["error_rate"]:
        return _RED
    return _BOLD if "nodes" in row else ""
