"""The head of a uwsgi worker's answer that has no status line, as CGI writes it, made one of HTTP/1.1.  Pure.

nginx reads both; so does the router where its client speaks HTTP.  ``Status:`` says the status; without it, 302 with a
``Location`` and 200 otherwise.
"""

from __future__ import annotations

import re
from typing import Final

#: Bytes of a head, as of one in HTTP (answer.py).
MAX_CGI_HEAD: Final = 65_536

_STATUS_LINE: Final = b"HTTP/"
_END: Final = re.compile(rb"\n\r?\n")
_STATUS: Final = re.compile(rb"status:([^\r\n]*)", re.IGNORECASE)


class CgiHead:
    """What comes before the head is known to be one of HTTP, or is whole and has become one."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the worker.  Returns all so far, with a head of HTTP; nothing while that is not known."""
        before = len(self._data)
        self._data += data
        if self._data.startswith(_STATUS_LINE) or len(self._data) > MAX_CGI_HEAD:
            return bytes(self._data)
        if _STATUS_LINE.startswith(self._data):
            return b""
        end = _END.search(self._data, max(0, before - 2))
        if end is None:
            return b""
        if not end.start():
            return bytes(self._data)
        return _with_status_line(bytes(self._data[: end.start()])) + bytes(self._data[end.end() :])


def _with_status_line(head: bytes) -> bytes:
    status = b"200 OK"
    lines = []
    has_status = False
    for line in head.split(b"\n"):
        line = line.removesuffix(b"\r")
        match = _STATUS.fullmatch(line)
        if match is not None:
            has_status, status = True, match[1].strip(b" \t")
            continue
        if not has_status and line[:9].lower() == b"location:":
            status = b"302 Found"
        lines.append(line)
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])
