"""What an operator holds a key in: a pause, or maintenance; how people ask for it, and how it goes on the wire.  Pure.

A key without such a state is ``serving``.  The end of a state is counted by each router from when it first heard of it,
so no two clocks are compared; who asked for it (an operator, through a controller or not) may end it before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from fastroute.router.runtime.json_text import read_json

SERVING, PAUSED, MAINTENANCE = "serving", "paused", "maintenance"
#: Seconds of a pause: unless said otherwise, and at most.
PAUSE_DEFAULT, PAUSE_MAX = 30.0, 600.0
#: Seconds of maintenance at most: a year.
MAINTENANCE_MAX = 366 * 86_400.0
#: Characters of a message; what a router answers itself is cut there.
MAX_MESSAGE = 300
#: Networks that maintenance lets through: with key and message they still fit into one op and one datagram.
MAX_NETWORKS = 16
#: The owner of entries that carry a state, which no container has.
STATE_OWNER = "operator"
#: The verbs that change the state of a key, and the fields of their requests beside ``key``.
STATE_VERBS: Mapping[str, Mapping[str, str]] = {
    "pause": {"seconds": "S"},
    "resume": {},
    "maintenance": {"message": '"..."', "allow": '["CIDR", ...]', "seconds": "S"},
}

_PAIRS = (b"state", b"message", b"allow", b"seconds", b"stamp")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_STAMP = re.compile(r"[0-9]{1,18}")


class StateProblem(ValueError):
    """What was asked for is no state of a key; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class AnnouncedState:
    """What a key is held in."""

    #: ``paused`` or ``maintenance``.
    name: str
    #: For whoever asks meanwhile; of maintenance.
    message: str = ""
    #: Networks (CIDR) whose clients are served all the same; of maintenance.
    allow: tuple[str, ...] = ()
    #: How long it lasts; 0: until it is ended.
    seconds: float = 0.0
    #: When it was asked for, in milliseconds since the epoch by the asker's clock: it only tells one request from the
    #: next, so that the same pause announced again does not last longer, and another one does.
    stamp: int = 0

    @property
    def text(self) -> str:
        """For people: how long, for whom, and the message."""
        parts = [f"for {seconds_text(self.seconds)} s" if self.seconds else "until it is resumed"]
        if self.allow:
            parts.append(f"not for {', '.join(self.allow)}")
        if self.message:
            parts.append(f'message "{self.message}"')
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What an operator asks for."""

    key: str
    #: None: the key serves again.
    state: AnnouncedState | None


def read_state_change(verb: str, body: bytes, stamp: int) -> StateChange:
    """What the JSON ``body`` of ``POST /v1/VERB`` asks for at ``stamp``; ``StateProblem`` when it makes no sense."""
    fields = STATE_VERBS[verb]
    expected = "{" + ", ".join(['"key": "..."', *(f'"{name}": {value}' for name, value in fields.items())]) + "}"
    try:
        request = read_json(body)
    except ValueError:
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("key"), str) or not request["key"].strip():
        raise StateProblem(f"a JSON object like {expected} expected")
    if unknown := sorted(set(request) - {"key", *fields}):
        raise StateProblem(f"{unknown[0][:40]!r} is not known here: {expected} expected")
    key = request["key"].strip()
    if verb == "resume":
        return StateChange(key, None)
    if verb == "pause":
        seconds = _seconds(request.get("seconds"), PAUSE_DEFAULT, PAUSE_MAX)
        return StateChange(key, AnnouncedState(PAUSED, seconds=seconds, stamp=stamp))
    seconds = _seconds(request.get("seconds"), 0.0, MAINTENANCE_MAX)
    message, allow = read_message(request.get("message") or ""), read_networks(request.get("allow") or [])
    return StateChange(key, AnnouncedState(MAINTENANCE, message, allow, seconds, stamp))


def read_message(value: object) -> str:
    """The message of maintenance."""
    if not isinstance(value, str) or len(value) > MAX_MESSAGE or not value.isprintable():
        raise StateProblem(f"message: one line of at most {MAX_MESSAGE} printable characters expected")
    return value.strip()


def read_networks(values: object) -> tuple[str, ...]:
    """The networks that maintenance lets through, each in its normal form."""
    expected = f"allow: at most {MAX_NETWORKS} networks expected, like 192.0.2.0/24, 192.0.2.7 or 2001:db8::/32"
    if not isinstance(values, list | tuple) or len(values) > MAX_NETWORKS:
        raise StateProblem(expected)
    try:
        return tuple(dict.fromkeys(str(ip_network(_text(value), strict=False)) for value in values))
    except ValueError as problem:
        raise StateProblem(f"{expected}: {str(problem)[:120]}") from None


def state_pairs(state: AnnouncedState) -> list[tuple[bytes, bytes]]:
    """``state`` as pairs of a subscription packet."""
    pairs = [(b"state", state.name.encode())]
    if state.message:
        pairs.append((b"message", state.message.encode()))
    if state.allow:
        pairs.append((b"allow", ",".join(state.allow).encode()))
    if state.seconds:
        pairs.append((b"seconds", seconds_text(state.seconds).encode()))
    return [*pairs, (b"stamp", b"%d" % state.stamp)]


def state_of_pairs(fields: Mapping[bytes, bytes]) -> AnnouncedState:
    """The state in the pairs of a packet; ``StateProblem`` when it makes no sense."""
    try:
        texts = {name: fields.get(name, b"").decode() for name in _PAIRS}
    except UnicodeDecodeError as problem:
        raise StateProblem(f"state: {problem}") from None
    name, seconds, stamp = texts[b"state"], texts[b"seconds"] or "0", texts[b"stamp"] or "0"
    if name not in (PAUSED, MAINTENANCE):
        raise StateProblem(f"state {name[:40]!r}: {PAUSED} or {MAINTENANCE} expected")
    if not _SECONDS.fullmatch(seconds) or float(seconds) > (PAUSE_MAX if name == PAUSED else MAINTENANCE_MAX):
        raise StateProblem(f"seconds {seconds[:40]!r}: too long, or no number")
    if name == PAUSED and not float(seconds):
        raise StateProblem(f"seconds: a pause ends, after {PAUSE_MAX:g} s at most")
    if not _STAMP.fullmatch(stamp):
        raise StateProblem(f"stamp {stamp[:40]!r} is no number")
    allow = read_networks(texts[b"allow"].split(",") if texts[b"allow"] else [])
    return AnnouncedState(name, read_message(texts[b"message"]), allow, float(seconds), int(stamp))


def state_from_names(fields: Mapping[str, Any]) -> AnnouncedState:
    """What :func:`dataclasses.asdict` made of a state, as a snapshot has it; names of later versions are ignored."""
    return AnnouncedState(
        str(fields["name"]), str(fields.get("message", "")), tuple(map(str, fields.get("allow", ()))),
        float(fields.get("seconds", 0)), int(fields.get("stamp", 0)),
    )  # fmt: skip


def seconds_text(seconds: float) -> str:
    """``seconds`` with the digits that count, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _seconds(value: object, default: float, limit: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = -1
    if not 0.001 <= value <= limit:
        raise StateProblem(f"seconds: a number above 0 expected, at most {limit:.0f}")
    return round(float(value), 3)


def _text(value: object) -> str:
    if not isinstance(value, str) or "%" in value:
        raise ValueError(f"{value!r:.60} is no network")
    return value.strip()
