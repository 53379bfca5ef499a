"""How one request and its answer are understood on an upstream connection that is read, not only passed through.  Pure.

It is read where the worker speaks HTTP/1.1, and where a uwsgi worker may keep the connection after its answer.
"""

from __future__ import annotations

from fastroute.router.protocol.wire import with_modifiers
from fastroute.router.relay.http.answer import HttpAnswer, WorkerAnswer
from fastroute.router.relay.http.body import Body, ChunkedBody
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.head import CHUNKED, BadRequest, Head, head_of
from fastroute.router.relay.http.request_head import RequestHead
from fastroute.router.relay.http.uwsgi_answer import KeptAnswer, UwsgiAnswer
from fastroute.router.relay.http.worker_head import worker_head
from fastroute.router.relay.node import Node
from fastroute.router.relay.vars import framing


class Codec:
    """The two readers of one exchange, and what is known of the request from the start."""

    __slots__ = ("answer", "body", "body_left", "cookie", "has_body", "request", "safe")

    def __init__(self, request: bytes, answer: WorkerAnswer, body: Body | None, body_left: int, has_body: bool,
                 safe: bool) -> None:  # fmt: skip
        #: The bytes for the worker that are there already.
        self.request = request
        self.answer = answer
        #: How the rest of the request is passed on; ``None``: as it comes (uwsgi).
        self.body = body
        #: Bytes of the request's body that are still to come, 1 while nobody knows.
        self.body_left = body_left
        self.has_body = has_body
        #: It is a GET or HEAD without body.
        self.safe = safe and not has_body
        #: A header line that the client's answer gets; empty: none.
        self.cookie = b""

    def set_cookie(self, line: bytes) -> None:
        """The client's answer gets this header line; empty: none."""
        if line:
            self.cookie = line
            self.answer.begin_with_line()


def beginning_codec(request: bytes) -> Codec:
    """The codec of a uwsgi worker that keeps no connection, until its final answer begins."""
    return Codec(request, UwsgiAnswer(False), None, 0, False, False)


def passing_codec(request: bytes, cookie: bytes) -> Codec:
    """The same where the final answer gets the header line ``cookie``."""
    codec = beginning_codec(request)
    codec.set_cookie(cookie)
    return codec


class LengthNeeded(Exception):
    """The worker has to know how long the body is, and the client does not say it."""


def codec_for(
    node: Node, packet: bytes, end: int, key: bytes, buffered: bool, exchange: HttpExchange | None = None
) -> Codec | None:
    """The codec of a request to ``node`` whose vars are ``packet[4:end]``; ``None``: better passed through.

    ``buffered``: its body does not come from the client, but from a buffer that has all of it.  ``exchange``: the
    client speaks HTTP, so nothing passes through as it is.  Raises ``BadRequest``, and ``LengthNeeded``.
    """
    if node.protocol == "uwsgi":
        if exchange is not None:
            return _codec_between(node, packet, end, buffered, exchange)
        method, length = framing(packet, end)
        if length < 0:
            return None
        left = 0 if buffered else length - (len(packet) - end)
        has_body = length > 0 or len(packet) > end
        safe = method in (b"GET", b"HEAD")
        request = with_modifiers(packet, node.modifier1, node.modifier2)
        return Codec(request, KeptAnswer(method == b"HEAD"), None, left, has_body, safe)
    return _codec_to_http(head_of(packet, end, key), packet[end:], buffered, exchange)


def codec_of_head(head: RequestHead, exchange: HttpExchange) -> Codec:
    """The codec of a request that came as HTTP to a worker that speaks HTTP.  Raises ``BadRequest``."""
    return _codec_to_http(worker_head(head, exchange.peer), exchange.beginning, False, exchange)


def _codec_to_http(head: Head, beginning: bytes, buffered: bool, exchange: HttpExchange | None) -> Codec:
    """The codec of a request whose body begins with ``beginning``."""
    body = ChunkedBody() if head.length == CHUNKED else Body(head.length)
    sent = b""
    if beginning:
        try:
            sent = body.feed(beginning)
        except BadChunks as error:
            raise BadRequest(str(error)) from None
        if exchange is not None and body.excess:
            exchange.ahead = beginning[len(beginning) - body.excess :]
    if buffered:
        body.left = 0
    has_body = buffered or sent != b"" or body.left > 0
    return Codec(head.text + sent, HttpAnswer(head.bodiless, head.upgrade), body, body.left, has_body, head.safe)


def _codec_between(node: Node, packet: bytes, end: int, buffered: bool, exchange: HttpExchange) -> Codec:
    """The codec of a request that came as HTTP to a worker that speaks uwsgi."""
    if exchange.chunked and not buffered:
        raise LengthNeeded
    left = 0 if buffered else exchange.length - (len(packet) - end)
    has_body = buffered or exchange.length > 0
    answer = HttpAnswer(exchange.head_only, exchange.upgrade, cgi=True)
    return Codec(
        with_modifiers(packet, node.modifier1, node.modifier2), answer, Body(left), left, has_body, exchange.safe
    )
