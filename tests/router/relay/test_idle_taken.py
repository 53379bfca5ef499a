"""A request on a connection that waited: what its worker said before is nobody's answer, whenever it came."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.entries import node_row, pool_row
from support.uwsgi_client import request_packet

from fastroute.router.protocol.wire import packet_size
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.codec import codec_for
from fastroute.router.relay.node import KEEPALIVE, Node
from fastroute.router.relay.upstream import UpstreamConnection, connect_by_idle


@pytest.fixture
def context() -> RelayContext:
    context = RelayContext({}, 100, "", None, 0.0)
    context.replica.apply(
        [["reset"], pool_row("foo.com"), node_row("foo.com", "127.0.0.1:1", protocol="http"), ["done"]], 0.0
    )
    context.now = 10.0
    return context


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The relay's end of a connection to a worker, and the worker's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(10)
        yield ours, theirs


def ask(context: RelayContext, ours: socket.socket, method: str) -> UpstreamConnection | None:
    """The connection that a request gets which comes in this turn; epoll was asked at its beginning."""
    (node,) = context.replica.pools[b"foo.com"].nodes.values()
    assert isinstance(node, Node)
    node.keep_connections(KEEPALIVE)
    assert context.idle.put(node, ours.fileno(), 9.5)
    packet = request_packet("foo.com", method)
    end = packet_size(packet)
    assert end is not None
    codec = codec_for(node, packet, end, b"foo.com", False)
    assert codec is not None
    return connect_by_idle(context, node, codec)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_silent_connection_is_used_again(
    context: RelayContext, ends: tuple[socket.socket, socket.socket], method: str
) -> None:
    ours, theirs = ends
    upstream = ask(context, ours, method)
    assert upstream is not None
    assert upstream.fd == ours.fileno()
    assert theirs.recv(1000).startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert context.closing == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_came_since_epoll_was_asked_ends_it(
    context: RelayContext, ends: tuple[socket.socket, socket.socket], method: str
) -> None:
    ours, theirs = ends
    theirs.sendall(b"H")
    assert ask(context, ours, method) is None
    assert context.closing == [ours.fileno()]
    theirs.settimeout(0.01)
    with pytest.raises(TimeoutError):
        theirs.recv(1)
