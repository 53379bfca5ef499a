"""What is done with the lines of an answer's head: status lines, and what many answers say, are taken apart once.

Of other lines the name is looked up.  Pure.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from fastroute.router.relay.content_length import is_length
from fastroute.router.relay.http.control_bytes import has_control_bytes

#: It goes on to the client.
PASSED: Final = 0
#: It says where the answer ends, or what concerns this connection.
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
CONNECTION: Final = 3
#: It concerns this connection, and is left out.
DROPPED: Final = 4
#: It is no header line.
NO_HEADER: Final = 5

_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    **dict.fromkeys((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"), DROPPED),
}
#: Headers that say the same in many answers.  Nothing that is meant for one client.
_REPEATING: Final = frozenset(
    (
        b"accept-ranges", b"access-control-allow-origin", b"cache-control", b"connection", b"content-encoding",
        b"content-language", b"content-length", b"content-type", b"cross-origin-opener-policy", b"date", b"expires",
        b"keep-alive", b"pragma", b"referrer-policy", b"server", b"strict-transport-security", b"transfer-encoding",
        b"vary", b"x-content-type-options", b"x-frame-options", b"x-powered-by",
    )
)  # fmt: skip
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*)?")

T = TypeVar("T")

#: How many are remembered of each, and bytes of one.
MAX_REMEMBERED: Final = 512
MAX_LENGTH: Final = 64

#: ``AnswerLine.length`` of a line that says none, or nothing that would be one.
NO_LENGTH: Final = -1


class AnswerLine:
    """A line of a head, by the ``kind`` of its header; ``value``: what stands behind the name, if that concerns us."""

    __slots__ = ("kind", "length", "value")

    def __init__(self, kind: int, value: bytes = b"") -> None:
        self.kind = kind
        self.value = value
        #: Of a Content-Length.
        self.length = int(value) if kind == CONTENT_LENGTH and is_length(value) else NO_LENGTH


#: Lines that were checked.
known_lines: Final[dict[bytes, AnswerLine]] = {}
#: Name of a header, as it was written -> its kind, and whether many answers have the same line of it.
_kinds: Final[dict[bytes, tuple[int, bool]]] = {}
#: Status line -> minor version of HTTP, and status.
_statuses: Final[dict[bytes, tuple[int, bytes]]] = {}
#: Lines of which nothing but the kind is asked for, by kind.
_LINES: Final = {kind: AnswerLine(kind) for kind in (PASSED, DROPPED, NO_HEADER)}


def read_line(line: bytes) -> AnswerLine:
    """Take apart a line that is not among ``known_lines``; it joins them if other answers may have it, too."""
    colon = line.find(b":")
    if colon < 0:
        return _LINES[NO_HEADER]
    name = line[:colon]
    known = _kinds.get(name)
    if known is None:
        lower = name.lower()
        kind = NO_HEADER if _TOKEN.fullmatch(name) is None else _KINDS.get(lower, PASSED)
        known = kind, lower in _REPEATING
        if len(name) <= MAX_LENGTH:
            _remember(_kinds, name, known)
    kind, repeats = known
    taken_apart = _LINES.get(kind)
    if taken_apart is None:
        taken_apart = AnswerLine(kind, line[colon + 1 :].strip(b" \t"))
    if repeats and len(line) <= MAX_LENGTH and not has_control_bytes(line):
        _remember(known_lines, line, taken_apart)
    return taken_apart


def status_of(line: bytes) -> tuple[int, bytes]:
    """The minor version of HTTP and the status (three digits) that ``line`` says; -1 and nothing: it is no status line
    of HTTP/1."""
    status = _statuses.get(line)
    if status is None:
        match = _STATUS_LINE.fullmatch(line)
        status = (-1, b"") if match is None else (int(match[1]), match[2])
        if len(line) <= MAX_LENGTH:
            _remember(_statuses, line, status)
    return status


def without(head: bytes, names: set[bytes]) -> bytes:
    """``head`` without the headers of these ``names`` (in lower case)."""
    first, *lines = head.split(b"\r\n")
    return b"\r\n".join([first, *(line for line in lines if line.partition(b":")[0].lower() not in names)])


def _remember(known: dict[bytes, T], line: bytes, value: T) -> None:
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[line] = value
