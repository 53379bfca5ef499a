"""A request's head that comes in pieces.  Pure.

What can never become a head is refused as soon as that shows, not when the client gives up.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.http.request_head import MAX_REQUEST_HEAD, BadHead, head_problem

#: A line that ends with LF alone.
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_TOKEN_BYTES: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class PartialHead:
    """The beginning of a head."""

    __slots__ = ("_data", "_empty_line", "_line_read")

    def __init__(self) -> None:
        self._data = bytearray()
        #: An empty line came before it.
        self._empty_line = False
        #: The request line was whole, and is one.
        self._line_read = False

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The next bytes.  Returns the head and what is behind it; an empty head while some is still missing.

        Raises ``BadHead``.
        """
        before = len(self._data)
        self._data += data
        if not self._empty_line and self._data.startswith(b"\r\n"):
            # Some clients end a body with an empty line that they did not announce (RFC 9112, 2.2).
            self._empty_line = True
            del self._data[:2]
            before = 0
        stop = self._data.find(b"\r\n\r\n", max(0, before - 3)) + 4
        size = stop if stop >= 4 else len(self._data)
        if _BARE_LF.search(self._data, max(0, before - 1), size) is not None:
            raise BadHead("bad-request", "a line of the head ends with LF alone, and CR LF is expected")
        if not self._line_read:
            self._check_request_line(max(0, before - 1))
        if size > MAX_REQUEST_HEAD:
            raise BadHead("too-large", f"the head is over {MAX_REQUEST_HEAD} bytes")
        if stop < 4:
            return b"", b""
        return bytes(self._data[:stop]), bytes(self._data[stop:])

    def _check_request_line(self, at: int) -> None:
        data = self._data
        if data and data[0] not in _TOKEN_BYTES and data != b"\r":
            raise BadHead("bad-request", head_problem(bytes(data[:80])))
        line_end = data.find(b"\r\n", at, MAX_REQUEST_HEAD)
        if line_end < 0:
            return
        self._line_read = True
        problem = head_problem(bytes(data[: line_end + 2]) + b"\r\n")
        if problem:
            raise BadHead("bad-request", problem)
