"""What happens at a connection of an HTTP front while no request is under way on it: heads are read, requests begin.

Nothing is read beyond the request at hand, but for what came with it, which waits its turn: of each connection one
request a turn of the loop.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.protocol.wire import HEADER_SIZE
from fastroute.router.relay.connection import CHUNK, READ, Connection, os_read
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.partial_head import PartialHead
from fastroute.router.relay.http.request_head import MAX_REQUEST_HEAD, BadHead, RequestHead, read_request_head
from fastroute.router.relay.http.request_vars import HttpPeer, packet_of_request, path_info
from fastroute.router.relay.http_client import HttpClient
from fastroute.router.relay.request import Request, Requests
from fastroute.router.relay.request_events import on_head
from fastroute.router.relay.transfer import UNKNOWN_LENGTH

#: Bytes of vars that a head makes, at most: for each of its bytes, and besides.  Each header gets 5 bytes more, and has
#: 4 at least; the target is there three times, the host twice.
MAX_VARS_PER_BYTE: Final = 4
OTHER_VARS: Final = 1024

_RETURN: Final = ord("\r")
_QUESTION_MARK: Final = ord("?")


def accept_client(context: RelayContext, requests: Requests, fd: int, peer: HttpPeer) -> HttpClient:
    """A client has connected."""
    client = requests.kept[fd] = HttpClient(Connection(fd), peer, context.now)
    return client


def read_request(context: RelayContext, requests: Requests, client: HttpClient) -> None:
    """Read what the client has sent; its request begins as soon as the head is whole."""
    if client.ahead:
        # They come first, in this turn or the next one.
        return
    try:
        data = os_read(client.connection.fd, CHUNK)
    except BlockingIOError:
        client.connection.arm(context.epoll, READ)
        return
    except OSError:
        data = b""
    if data:
        _take(context, requests, client, data)
    else:
        drop_client(context, requests, client)


def next_request(context: RelayContext, requests: Requests, client: HttpClient) -> None:
    """Go on with what was read behind the last request."""
    data, client.ahead = client.ahead, b""
    if data and client.connection.fd in requests.kept:
        _take(context, requests, client, data)


def drop_client(context: RelayContext, requests: Requests, client: HttpClient) -> None:
    """Close the connection, on which no request is under way."""
    del requests.kept[client.connection.fd]
    client.ahead = b""
    context.closing.append(client.connection.fd)


def check_client(context: RelayContext, requests: Requests, client: HttpClient) -> None:
    """End what has been silent for too long."""
    silent = context.now - client.since
    if client.partial is not None or not client.served:
        # All of a head has this time: a byte now and then keeps no connection.
        if silent >= context.client_timeout:
            if client.partial is None:
                drop_client(context, requests, client)
            else:
                text = f"the head of the request stalled after {client.partial.size} bytes"
                _refuse(context, requests, client, BadHead("bad-request", text))
    elif silent >= context.idle_timeout_http:
        drop_client(context, requests, client)


def _take(context: RelayContext, requests: Requests, client: HttpClient, data: bytes) -> None:
    stop = data.find(b"\r\n\r\n") + 4 if client.partial is None and data[0] != _RETURN else 0
    try:
        if 4 <= stop <= MAX_REQUEST_HEAD:
            head, rest = (data, b"") if stop == len(data) else (data[:stop], data[stop:])
        else:
            if client.partial is None:
                client.partial = PartialHead()
                client.since = context.now
            head, rest = client.partial.feed(data)
            if not head:
                client.connection.arm(context.epoll, READ)
                return
            client.partial = None
        request = read_request_head(head, client.peer.origin.host)
        _check_size(context, client.peer, request, len(head))
    except BadHead as bad:
        _refuse(context, requests, client, bad)
        return
    _begin(context, requests, client, request, rest)


def _check_size(context: RelayContext, peer: HttpPeer, head: RequestHead, size: int) -> None:
    """Raises ``BadHead`` where the vars of ``head``, of ``size`` bytes, would be too long, or its path makes none."""
    if MAX_VARS_PER_BYTE * size + OTHER_VARS > context.max_packet:
        size = len(packet_of_request(head, peer)) - HEADER_SIZE
        limit = context.max_packet - HEADER_SIZE
        if size > limit:
            raise BadHead("too-large", f"the head makes {size} bytes of vars, and --buffer-size allows {limit}")
    else:
        target = head.target
        path_info(target if _QUESTION_MARK not in target else target[: target.find(b"?")], peer.merges_slashes)


def _begin(context: RelayContext, requests: Requests, client: HttpClient, head: RequestHead, rest: bytes) -> None:
    """The request with ``head`` begins; ``rest`` is what came behind it."""
    beginning, ahead = rest, b""
    if rest and not head.chunked:
        beginning, ahead = rest[: head.length], rest[head.length :]
    exchange = HttpExchange(head, client.peer, beginning, not context.draining)
    exchange.ahead = ahead
    on_head(_new_request(context, requests, client, exchange), exchange, head)


def _new_request(context: RelayContext, requests: Requests, client: HttpClient, exchange: HttpExchange) -> Request:
    del requests.kept[client.connection.fd]
    client.served = True
    request = Request(context, requests, client.connection, client)
    transfer = request.transfer
    transfer.exchange = exchange
    # The client is registered all the time.
    transfer.watched = True
    return request


def _refuse(context: RelayContext, requests: Requests, client: HttpClient, bad: BadHead) -> None:
    """Answer what is no request, and end the connection: nobody knows where the next one would begin."""
    client.partial = None
    context.total += 1
    exchange = HttpExchange(RequestHead(b"", b"", False), client.peer, b"", False)
    exchange.head = None
    request = _new_request(context, requests, client, exchange)
    request.transfer.body_left = UNKNOWN_LENGTH
    request.refuse(bad.kind, str(bad))
