"""What is done with the lines of an answer's head: status lines, and what many answers say, are taken apart once.

Of other lines the name is looked up.  Pure.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

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

#: Line that was checked -> what is done with it.
line_kinds: Final[dict[bytes, int]] = {}
#: Name of a header, as it was written -> what is done with it, and whether many answers have the same line of it.
_kinds: Final[dict[bytes, tuple[int, bool]]] = {}
#: Status line -> minor version of HTTP, and status.
_statuses: Final[dict[bytes, tuple[int, bytes]]] = {}


def kind_of(line: bytes) -> int:
    """What is done with this line of a head, which is not among ``line_kinds``."""
    colon = line.find(b":")
    if colon < 0:
        return NO_HEADER
    name = line[:colon]
    known = _kinds.get(name)
    if known is None:
        lower = name.lower()
        kind = NO_HEADER if _TOKEN.fullmatch(name) is None else _KINDS.get(lower, PASSED)
        known = kind, lower in _REPEATING
        if len(name) <= MAX_LENGTH:
            _remember(_kinds, name, known)
    if known[1] and len(line) <= MAX_LENGTH and not has_control_bytes(line):
        _remember(line_kinds, line, known[0])
    return known[0]


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


def value_of(line: bytes) -> bytes:
    """What stands behind the name."""
    return line[line.find(b":") + 1 :].strip(b" \t")


def says_empty(lengths: list[bytes], codings: list[bytes]) -> bool:
    """Whether the head says itself that there is no body: then whoever wrote it sends none, whatever was asked."""
    return not codings and len(lengths) == 1 and lengths[0].strip(b"0") == b"" != lengths[0]


def without(head: bytes, names: set[bytes]) -> bytes:
    """``head`` without the headers of these ``names`` (in lower case)."""
    first, *lines = head.split(b"\r\n")
    return b"\r\n".join([first, *(line for line in lines if line.partition(b":")[0].lower() not in names)])


def _remember(known: dict[bytes, T], line: bytes, value: T) -> None:
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[line] = value
