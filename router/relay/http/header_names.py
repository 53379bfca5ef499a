"""What is done with a header of a client's request, by its name: a name that was seen before is looked up once.  Pure.

The same for whole lines, where many clients say the same: what a browser is and takes, which host it asks for.  Such a
line is found whole, without being taken apart and checked again, at a third of the cost.

A client may invent any number of names and lines, so they are forgotten when too many bytes of them are remembered; but
only between two heads: within one, a name is one object, in whatever case it is written.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.protocol.wire import encode_name, encode_value
from fastroute.router.relay.http.head import header_line

#: It becomes a var, or a line of the head for an HTTP worker.
PASSED: Final = 0
#: It is read by us, and becomes no var of its own; ``HOST`` is the one that every request has.
READ: Final = 1
HOST: Final = 2
#: It is left out.
DROPPED: Final = 3
#: By it a proxy says for whom it asks.
ORIGIN: Final = 4

_READ: Final = frozenset(
    (b"content-length", b"content-type", b"transfer-encoding", b"connection", b"upgrade", b"expect")
)
#: Headers of one connection, and those that a worker must not take for its own settings.
_DROPPED: Final = frozenset(
    (b"keep-alive", b"proxy", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"http2-settings")
)
_ORIGIN: Final = frozenset((b"forwarded", b"x-real-ip"))
_FORWARDED: Final = b"x-forwarded-"

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: Names with other bytes would be the same var as another header: they are left out.
_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
#: Bytes of names and lines that are remembered; bytes of one line, and as how many more each of them counts.
MAX_REMEMBERED: Final = 262_144
MAX_LINE: Final = 256
LINE_COST: Final = 256

#: Headers that say the same in many requests.  Nothing that is meant for one client, and nothing secret.
_REPEATING: Final = frozenset(
    (
        b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection", b"content-type", b"dnt",
        b"host", b"origin", b"pragma", b"priority", b"te", b"upgrade-insecure-requests", b"user-agent",
        b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-requested-with",
    )
)  # fmt: skip
_REPEATING_BEGINS: Final = (b"sec-fetch-", b"sec-ch-")


class HeaderName:
    """A header, by what is done with it; ``var`` and ``line`` are how its var and its line begin.

    ``repeats``: many requests have the same line of it.
    """

    __slots__ = ("kind", "line", "lower", "repeats", "var")

    def __init__(self, lower: bytes) -> None:
        self.lower = lower
        self.var = self.line = b""
        self.kind = DROPPED
        self.repeats = lower in _REPEATING or lower.startswith(_REPEATING_BEGINS)
        if lower == b"host":
            self.kind = HOST
        elif lower in _DROPPED:
            return
        elif lower in _READ:
            self.kind = READ
        elif _NAME.fullmatch(lower) is None:
            return
        elif lower in _ORIGIN or lower.startswith(_FORWARDED):
            self.kind = ORIGIN
        else:
            self.kind = PASSED
            self.var = header_var(lower)
            self.line = b"\r\n" + header_line(self.var[2:])


class HeaderLine:
    """A line of a head, taken apart; what workers get of it is made when the first one gets it."""

    __slots__ = ("_line", "_var", "header", "value")

    def __init__(self, header: HeaderName, value: bytes) -> None:
        self.header = header
        self.value = value
        self._line = self._var = b""

    def as_line(self) -> bytes:
        """For a worker that speaks HTTP: the line, behind its CR LF."""
        if not self._line:
            self._line = self.header.line + self.value
        return self._line

    def as_var(self) -> bytes:
        """For a worker that speaks uwsgi: the var."""
        if not self._var:
            self._var = self.header.var + encode_value(self.value)
        return self._var


class HeaderNames:
    """The names and lines that are remembered."""

    def __init__(self) -> None:
        #: By name, as it was written.
        self.known: dict[bytes, HeaderName] = {}
        #: Whole lines, which were checked.
        self.lines: dict[bytes, HeaderLine] = {}
        #: How many bytes they all have.
        self.size = 0
        #: Those that are never forgotten.
        self._kept: dict[bytes, HeaderName] = {}

    def keep(self, lower: bytes) -> HeaderName:
        """The header of this name, which is never forgotten."""
        header = self._kept[lower] = self.known[lower] = HeaderName(lower)
        return header

    def learn(self, name: bytes) -> HeaderName | None:
        """What is done with the header ``name``, which is not ``known``; ``None``: it can't be a name."""
        if _TOKEN.fullmatch(name) is None:
            return None
        lower = name.lower()
        header = self.known.get(lower)
        if header is None:
            header = self.known[lower] = HeaderName(lower)
            self.size += len(lower)
        if lower != name:
            self.known[name] = header
            self.size += len(name)
        return header

    def remember(self, line: bytes, known: HeaderLine) -> None:
        """Remember this ``line``, in which there is nothing that may not stand in a head."""
        if len(line) <= MAX_LINE and self.size <= MAX_REMEMBERED:
            self.lines[line] = known
            self.size += len(line) + LINE_COST

    def forget(self) -> None:
        """Begin anew.  Not within one head."""
        self.lines.clear()
        self.known.clear()
        self.known.update(self._kept)
        self.size = 0


def header_var(name: bytes) -> bytes:
    """How the var of the header ``name`` begins."""
    return encode_name(b"HTTP_" + name.upper().replace(b"-", b"_"))


NAMES: Final = HeaderNames()
#: Stands for a header that is not there.
NO_LINE: Final = HeaderLine(HeaderName(b""), b"")
#: Those that the access log shows.
REFERER: Final = NAMES.keep(b"referer")
USER_AGENT: Final = NAMES.keep(b"user-agent")
REQUEST_ID: Final = NAMES.keep(b"x-request-id")
REQUEST_START: Final = NAMES.keep(b"x-request-start")
#: The one that says of which trace a request is.
TRACEPARENT: Final = NAMES.keep(b"traceparent")
