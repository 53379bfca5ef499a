"""The answer of a uwsgi worker: passed on as it came, but for interim answers (1xx).  Pure.

nginx reads the first head of a uwsgi upstream as the answer, whatever its status, and then waits for more of it until
the worker closes; so do the original router's clients.  What comes before the final head (gunicorn: 100, and 103 for
early hints) is therefore dropped, as it is of workers that speak HTTP.  101 is no interim answer: a tunnel begins.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.content_length import is_length
from fastroute.router.relay.http.answer import (
    BLANKS,
    CLOSE,
    DONE,
    HEAD,
    HEAD_PATTERN,
    INTERIM_DIGIT,
    LENGTH,
    MAX_HEAD,
    MAX_INTERIM,
    TUNNEL,
    BadAnswer,
    WorkerAnswer,
)
from fastroute.router.relay.quoting import quoted

#: Lines that concern this connection only, or say how long the answer is.
_CONNECTION_LINES: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade):([^\r]*)",
    re.IGNORECASE,
)
#: Bytes of an answer that tell whether it is an interim one: the first digit of ``HTTP/1.1 103``.
INTERIM_KNOWN: Final = 10
#: Bytes of a status line that is waited for.
MAX_LINE: Final = 4096
#: Those that tell which.
_STATUS_END: Final = 12
_INTERIM_BEGINS: Final = (b"HTTP/1.1 1", b"HTTP/1.0 1")


class UwsgiAnswer(WorkerAnswer):
    """What a worker that keeps no connection says: once the final answer begins, it is none of our business."""

    __slots__ = ("_held", "_interim", "_whole_line")

    def __init__(self, bodiless: bool) -> None:
        super().__init__(bodiless)
        #: Of what is, or may be, an interim answer.
        self._held: bytearray | None = None
        self._interim = 0
        self._whole_line = False

    def begin_with_line(self) -> None:
        """Hold bytes back until there is a line of them; one that is too long passes as it comes."""
        self._whole_line = True
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """``data``, without interim answers; nothing while it may be one."""
        if self.started:
            return data
        self.begun = True
        final = self.final(data)
        if final and not self.tunnel:
            self.passes = True
            self.state = CLOSE
        return final

    def end(self) -> str:
        """Nothing is wrong with a final answer: as far as uwsgi knows, a worker that closes has said all."""
        return "" if self.started else "closed before its final answer"

    def final(self, data: bytes) -> bytes:
        """What of ``data`` belongs to the final answer, which ``started`` if anything does."""
        before = 0
        if self._held is not None:
            before = max(0, len(self._held) - 3)
            self._held += data
            held = self._held
        else:
            held = bytearray(data)
        while held.startswith(_INTERIM_BEGINS):
            if len(held) < _STATUS_END:
                break
            if held[INTERIM_KNOWN:_STATUS_END] == b"01":
                if self._in_line(held):
                    break
                self.tunnel = self.passes = True
                self.state = TUNNEL
                break
            stop = held.find(b"\r\n\r\n", before) + 4
            if stop < 4:
                if len(held) > MAX_HEAD:
                    raise BadAnswer(f"an interim answer of over {MAX_HEAD} bytes")
                break
            if HEAD_PATTERN.fullmatch(held, 0, stop) is None:
                raise BadAnswer(f"{quoted(held, 40)} begins no interim answer")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadAnswer(f"over {MAX_INTERIM} interim answers")
            del held[:stop]
            before = 0
        undecided = held.startswith(_INTERIM_BEGINS) or any(begin.startswith(held) for begin in _INTERIM_BEGINS)
        if (undecided or self._in_line(held)) and not self.tunnel:
            self._held = held
            return b""
        self._held = None
        self.started = True
        return bytes(held)

    def _in_line(self, held: bytearray) -> bool:
        """Whether the rest of a line is still to come that is needed whole."""
        return self._whole_line and len(held) <= MAX_LINE and b"\n" not in held


class KeptAnswer(UwsgiAnswer):
    """The answer of a worker that keeps its connection, watched for its end.

    ``complete`` only where there is no doubt: one Content-Length (or none needed), and nothing behind it.
    """

    __slots__ = ("_head",)

    def __init__(self, bodiless: bool) -> None:
        super().__init__(bodiless)
        self._head: bytearray | None = None

    def feed(self, data: bytes) -> bytes:
        """As :meth:`UwsgiAnswer.feed`."""
        if self.state == LENGTH:
            self._count(len(data))
        elif self.state == HEAD:
            self.begun = True
            if not self.started:
                if self._held is not None or len(data) < INTERIM_KNOWN or data[INTERIM_KNOWN - 1] == INTERIM_DIGIT:
                    data = self.final(data)
                    if self.tunnel or not data:
                        return data
                self.started = True
            self._on_head(data)
        elif self.state == DONE:
            self.done(len(data))
        return data

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            self.state = CLOSE
            self.keep = False
        elif not self.left:
            self.done(0)

    def _on_head(self, data: bytes | bytearray) -> None:
        start = 0
        if self._head is not None:
            start = max(0, len(self._head) - 3)
            self._head += data
            data = self._head
        stop = data.find(b"\r\n\r\n", start) + 4
        if stop < 4:
            if len(data) > MAX_HEAD:
                self.state, self._head = CLOSE, None
            elif self._head is None:
                self._head = bytearray(data)
            return
        self._head = None
        self._frame(bytes(data[:stop]))
        if self.state == LENGTH:
            self._count(len(data) - stop)
        elif self.state == DONE:
            self.done(len(data) - stop)

    def _frame(self, head: bytes) -> None:
        """LENGTH where there is no doubt, DONE where there is no body, else CLOSE."""
        self.state = CLOSE
        match = HEAD_PATTERN.fullmatch(head)
        if match is None or match[1] != b"1":
            return
        self.status = match[2]
        lengths = []
        for line in _CONNECTION_LINES.finditer(head, 8):
            name = line[1].lower()
            if name == b"content-length":
                lengths.append(line[2].strip(BLANKS))
            elif name == b"transfer-encoding" or (
                name == b"connection" and line[2].strip(BLANKS).lower() != b"keep-alive"
            ):
                return
        if len(lengths) > 1 or (lengths and not is_length(lengths[0])):
            return
        if self.bodiless or self.status in (b"204", b"304"):
            # Who says that there is no body sends none, whatever was asked for.
            self.keep = len(lengths) == 1 and int(lengths[0]) == 0
            self.done(0)
        elif lengths:
            self.keep = True
            self.state = LENGTH
            self.left = int(lengths[0])
