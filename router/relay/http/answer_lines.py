"""What is done with the lines of an answer's head: status lines and names of headers that were seen before are looked
up once.  Pure."""

from __future__ import annotations

import re
from typing import Final

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
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*)?")

#: How many are remembered of each, and bytes of one.
MAX_REMEMBERED: Final = 512
MAX_LENGTH: Final = 64

#: Name of a header, as it was written -> what is done with it.
_kinds: dict[bytes, int] = {}
#: Status line -> minor version of HTTP, and status.
_statuses: dict[bytes, tuple[int, bytes]] = {}


def kind_of(line: bytes) -> int:
    """What is done with this line of a head, which has no control characters."""
    name, colon, _ = line.partition(b":")
    kind = _kinds.get(name)
    if kind is None:
        kind = NO_HEADER if _TOKEN.fullmatch(name) is None else _KINDS.get(name.lower(), PASSED)
        if len(name) <= MAX_LENGTH:
            if len(_kinds) >= MAX_REMEMBERED:
                _kinds.clear()
            _kinds[name] = kind
    return kind if colon else NO_HEADER


def status_of(line: bytes) -> tuple[int, bytes]:
    """The minor version of HTTP and the status (three digits) that ``line`` says; -1 and nothing: it is no status line
    of HTTP/1."""
    status = _statuses.get(line)
    if status is None:
        match = _STATUS_LINE.fullmatch(line)
        status = (-1, b"") if match is None else (int(match[1]), match[2])
        if len(line) <= MAX_LENGTH:
            if len(_statuses) >= MAX_REMEMBERED:
                _statuses.clear()
            _statuses[line] = status
    return status
