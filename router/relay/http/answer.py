"""A worker's answer as it comes: where it ends, whether the connection can be used again, what the client gets.  Pure.

=========  ==============================================  =======================================================
state      meaning                                         leaves by
=========  ==============================================  =======================================================
HEAD       bytes are kept until the head is whole          whole -> one of the others; 1xx -> HEAD again
LENGTH     as many bytes as Content-Length said            all came -> DONE
CHUNKS     the chunked coding, undone                      last chunk -> DONE
CLOSE      everything until the worker closes              never
TUNNEL     101: both sides say what they like              never
DONE       ``complete``                                    never
=========  ==============================================  =======================================================

:class:`HttpAnswer` is strict and writes the head anew for a uwsgi client, which knows no chunks and no connection to
keep (nginx passes chunks of a uwsgi upstream on as they are).  Every answer that it lets pass, h11 reads the same way.
Answers of uwsgi workers: uwsgi_answer.py.

Nothing here may cost more than one pass over the worker's bytes, in whatever pieces they come: no worker may hold up
the requests of all others.

An answer that has no body, though its head does not say so itself by ``Content-Length: 0`` (HEAD, 204, 304), ends its
connection: a worker that sends a body all the same (gunicorn 23 answers HEAD so) would send it to the next client.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Final

from fastroute.router.relay.http.answer_lines import (
    CONNECTION,
    CONTENT_LENGTH,
    NO_HEADER,
    NO_LENGTH,
    PASSED,
    TRANSFER_ENCODING,
    AnswerLine,
    known_lines,
    read_line,
    status_of,
    without,
)
from fastroute.router.relay.http.cgi_head import CgiHead
from fastroute.router.relay.http.chunks import BadChunks, Dechunker
from fastroute.router.relay.http.control_bytes import has_control_bytes
from fastroute.router.relay.quoting import quoted

#: Bytes of a head.
MAX_HEAD: Final = 65_536
#: Interim answers (1xx) before one answer.
MAX_INTERIM: Final = 16

HEAD: Final = 0
LENGTH: Final = 1
CHUNKS: Final = 2
CLOSE: Final = 3
TUNNEL: Final = 4
DONE: Final = 5

HEAD_PATTERN: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*)?\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)
#: How the status of an interim answer begins.
INTERIM_DIGIT: Final = ord("1")
BLANKS: Final = b" \t"
_LINE_END: Final = b"\r\n"


class BadAnswer(ValueError):
    """The worker's bytes are no HTTP/1.1 answer, or one that could be read in two ways; the text says why."""


class WorkerAnswer(ABC):
    """One answer as it comes; ``bodiless``: it has no body, whatever its head says (the request was a HEAD)."""

    __slots__ = (
        "begun",
        "bodiless",
        "complete",
        "delimited",
        "keep",
        "left",
        "passes",
        "started",
        "state",
        "status",
        "tunnel",
    )

    def __init__(self, bodiless: bool) -> None:
        self.bodiless = bodiless
        self.state = HEAD
        #: A byte came.
        self.begun = False
        #: The head was whole, so the client got something.
        self.started = False
        #: Its three digits, once the answer has started.
        self.status = b""
        #: Bytes of the body that are still to come, in the state LENGTH.
        self.left = 0
        #: Its head says where it ends, in a way that the client gets, too: by a length, or because it has no body.
        self.delimited = False
        #: All of it came.
        self.complete = False
        #: When it is complete, the worker waits for the next request on this connection.
        self.keep = False
        #: The worker switched protocols.
        self.tunnel = False
        #: What follows passes as it comes.
        self.passes = False

    @abstractmethod
    def begin_with_line(self) -> None:
        """What the client gets first is to be a whole line at least, as another one is put behind it."""

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """What the client gets for ``data``, the next bytes from the worker; ``BadAnswer`` when there is no more."""

    @abstractmethod
    def end(self) -> str:
        """The worker closed: why the answer is not whole, empty when it is."""

    def until_length(self, data: bytes) -> bytes:
        """``data`` as far as it belongs to the answer; what is behind it makes the connection useless."""
        excess = len(data) - self.left
        self.left -= len(data)
        if excess < 0:
            return data
        self.done(excess)
        return data[: len(data) - excess] if excess else data

    def done(self, excess: int) -> None:
        """The answer is over, with ``excess`` bytes behind it."""
        self.complete = True
        self.state = DONE
        self.left = 0
        if excess:
            self.keep = False


class HttpAnswer(WorkerAnswer):
    """The answer of a worker that speaks HTTP/1.1, with its body plain.

    ``upgrade``: 101 was asked for.  ``cgi``: the worker speaks uwsgi, so there may be no status line.
    """

    __slots__ = ("_cgi", "_chunks", "_head", "_interim", "_upgrade")

    def __init__(self, bodiless: bool, upgrade: bool, cgi: bool = False) -> None:
        super().__init__(bodiless)
        self._cgi = CgiHead() if cgi else None
        self._upgrade = upgrade
        #: As far as it came; a bytearray, as what comes in single bytes must not be copied with each.
        self._head: bytearray | None = None
        self._interim = 0
        self._chunks: Dechunker | None = None

    def feed(self, data: bytes) -> bytes:
        """Beginning with a whole head, in which nothing is left of this connection; then the body, plain."""
        if self.state == LENGTH:
            return self.until_length(data)
        if self.state == CHUNKS:
            return self._dechunked(data)
        if self.state == HEAD:
            return self._on_head(data)
        if self.state == DONE:
            self.done(len(data))
            return b""
        return data

    def begin_with_line(self) -> None:
        """It begins with its whole head in any case."""

    def end(self) -> str:
        """The worker closed: why the answer is not whole, empty when it is."""
        if self.state == LENGTH:
            return f"closed {self.left} bytes before the end of its answer"
        if self.state == CHUNKS:
            return "closed before the last chunk of its answer"
        return "closed in the head of its answer" if self.state == HEAD else ""

    def _on_head(self, data: bytes) -> bytes:
        self.begun = True
        if self._cgi is not None:
            data = self._cgi.feed(data)
            if not data:
                return b""
            self._cgi = None
        start = 0
        if self._head is not None:
            start = max(0, len(self._head) - 3)
            self._head += data
            if self._head.find(b"\r\n\r\n", start) < 0:
                self._check_beginning(self._head)
                return b""
            data, self._head = bytes(self._head), None
        while True:
            stop = data.find(b"\r\n\r\n", start) + 4
            if stop < 4:
                self._head = bytearray(data)
                self._check_beginning(self._head)
                return b""
            worker_head = data[:stop]
            head = self._read_head(worker_head)
            if head is worker_head and self.state == LENGTH and len(data) - stop <= self.left:
                # The common answer: what came is what the client gets.
                self.started = True
                self.left -= len(data) - stop
                if not self.left:
                    self.done(0)
                return data
            data = data[stop:]
            if head:
                break
            start = 0
        self.started = True
        if self.state == DONE:
            self.done(len(data))
            return head
        return head + self.feed(data) if data else head

    def _check_beginning(self, head: bytearray) -> None:
        if len(head) > MAX_HEAD:
            raise BadAnswer(f"a head of over {MAX_HEAD} bytes")
        if not b"HTTP/1.".startswith(head[:7]):
            raise BadAnswer(f"{quoted(head, 40)} is no status line")

    def _dechunked(self, data: bytes) -> bytes:
        chunks = self._chunks
        assert chunks is not None
        try:
            body = chunks.feed(data)
        except BadChunks as error:
            raise BadAnswer(str(error)) from None
        if chunks.over:
            self.done(chunks.excess)
        return body

    def _read_head(self, head: bytes) -> bytes:
        """Decide how the body is framed; the head as the client gets it, empty for an interim one."""
        lines = head.split(_LINE_END)
        version, status = status_of(lines[0])
        if version < 0:
            raise BadAnswer(_problem(head))
        if status[0] == INTERIM_DIGIT:
            return self._on_interim(head, status)
        self.status = status
        self.keep = version == 1
        framing: AnswerLine | None = None
        named: set[bytes] | None = None
        left_out: list[bytes] = []
        unchecked: list[bytes] = []
        for line in lines[1:-2]:
            known = known_lines.get(line)
            if known is None:
                known = read_line(line)
                unchecked.append(line)
            kind = known.kind
            if kind == PASSED:
                continue
            if kind == NO_HEADER:
                raise BadAnswer(_problem(head))
            if kind in (CONTENT_LENGTH, TRANSFER_ENCODING):
                if framing is not None:
                    raise BadAnswer("its length is said more than once")
                framing = known
            elif kind == CONNECTION:
                named = self._on_connection(known.value, named)
            if kind != CONTENT_LENGTH or status == b"204":
                left_out.append(line)
        if unchecked and has_control_bytes(b"".join(unchecked)):
            raise BadAnswer(_problem(head))
        self._frame(framing, version == 1)
        if not left_out and version == 1:
            return head
        lines[0] = b"HTTP/1.1" + lines[0][8:]
        dropped = set(left_out)
        client_head = _LINE_END.join([line for line in lines if line not in dropped])
        return without(client_head, named) if named else client_head

    def _on_connection(self, options: bytes, named: set[bytes] | None) -> set[bytes] | None:
        """Note what it says.  Returns the headers of this connection that it names, and those that were ``named``."""
        for option in options.lower().split(b","):
            name = option.strip(BLANKS)
            if name == b"close":
                self.keep = False
            elif name not in (b"", b"keep-alive", b"upgrade", b"content-length", b"transfer-encoding"):
                if named is None:
                    named = set()
                named.add(name)
        return named

    def _on_interim(self, head: bytes, status: bytes) -> bytes:
        if HEAD_PATTERN.fullmatch(head) is None:
            raise BadAnswer(_problem(head))
        if status == b"101":
            if not self._upgrade:
                raise BadAnswer("it switches protocols, which nobody asked for")
            self.status = status
            self.tunnel = self.passes = True
            self.state = TUNNEL
            return head
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise BadAnswer(f"over {MAX_INTERIM} interim answers")
        return b""

    def _frame(self, framing: AnswerLine | None, chunks_known: bool) -> None:
        """RFC 9112, 6.3, without its leniency: whatever could be read in two ways is refused."""
        length = NO_LENGTH
        if framing is not None:
            length = framing.length
            if framing.kind == TRANSFER_ENCODING:
                if framing.value.lower() != b"chunked" or not chunks_known:
                    raise BadAnswer(f"Transfer-Encoding {quoted(framing.value, 40)}: chunked, and HTTP/1.1, expected")
            elif length == NO_LENGTH:
                raise BadAnswer(f"Content-Length {quoted(framing.value, 40)}: a number expected")
        if self.bodiless or self.status in (b"204", b"304"):
            # Who says that there is no body sends none, whatever was asked for.
            self.keep = self.keep and length == 0
            self.delimited = True
            self.done(0)
        elif framing is None:
            self.state = CLOSE
            self.keep = False
        elif length == NO_LENGTH:
            self.state = CHUNKS
            self._chunks = Dechunker()
        else:
            self.state = LENGTH
            self.delimited = True
            self.left = length
            if not length:
                self.done(0)


def _problem(head: bytes) -> str:
    first, *lines = head.split(b"\r\n")
    if HEAD_PATTERN.fullmatch(first + b"\r\n\r\n") is None:
        return f"{quoted(first, 40)} is no status line"
    for line in lines:
        if line and HEAD_PATTERN.fullmatch(b"HTTP/1.1 200\r\n" + line + b"\r\n\r\n") is None:
            return f"{quoted(line, 40)} is no header line"
    return "no head of an answer"
