"""A worker's answer as an HTTP/1.1 client gets it: framed so that the client's connection can stay.  Pure.

The length that the worker said is kept; without one the body goes out in chunks, or until the end of the connection to
a client that knows no chunks (HTTP/1.0).  An answer that is not whole can be told from one that is: bytes of its length
are missing, or its last chunk.
"""

from __future__ import annotations

from fastroute.router.relay.http.answer import WorkerAnswer

LAST_CHUNK = b"0\r\n\r\n"


class ClientFraming:
    """``keep``: the client may send another request on its connection.  ``chunks_known``: it speaks HTTP/1.1."""

    __slots__ = ("_chunked", "_chunks_known", "begun", "keep")

    def __init__(self, keep: bool, chunks_known: bool) -> None:
        self.keep = keep
        self._chunks_known = chunks_known
        self._chunked = False
        #: The client gets an answer.
        self.begun = False

    def frame(self, answer: WorkerAnswer, data: bytes) -> bytes:
        """What the client gets for ``data``, which ``answer`` has just made of the worker's bytes (answer.py)."""
        if not self.begun:
            return self._begin(answer, data) if data else b""
        if not self._chunked:
            return data
        return _chunk(data, answer.complete)

    def end(self) -> bytes:
        """What the client gets when the worker has ended the answer with its connection."""
        return LAST_CHUNK if self._chunked else b""

    def _begin(self, answer: WorkerAnswer, data: bytes) -> bytes:
        self.begun = True
        if answer.tunnel:
            self.keep = False
            return data
        if self.keep and answer.delimited:
            return data
        head_end = data.find(b"\r\n\r\n") + 2
        head, body = data[:head_end], data[head_end + 2 :]
        if not answer.delimited:
            if self._chunks_known:
                self._chunked = True
                head += b"Transfer-Encoding: chunked\r\n"
                body = _chunk(body, answer.complete)
            else:
                self.keep = False
        if not self.keep:
            head += b"Connection: close\r\n"
        return b"%b\r\n%b" % (head, body)


def _chunk(data: bytes, last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return chunk + LAST_CHUNK if last else chunk
