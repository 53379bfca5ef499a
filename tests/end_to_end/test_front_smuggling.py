"""Requests that could be read in two ways, sent through nginx and the router: what is one request to nginx is one to
the worker, whatever is spoken between them, and nothing inside a request becomes another one."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.fronts import WAYS, Node, Way
from support.workers import Connection, Worker, response

from fastroute.router.protocol.wire import decode_vars

HOST = "Host: a.test\r\n"
INNER = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
SIZE = f"Content-Length: {len(INNER)}\r\n"
CHUNK = f"{len(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"
EXTENDED = CHUNK.replace("\r", ";x\r", 1)
#: Each with INNER somewhere in its body, or what some parser takes for one.
REQUESTS = {
    "a body": f"POST /1 HTTP/1.1\r\n{HOST}{SIZE}\r\n{INNER}",
    "chunks": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{CHUNK}",
    "a body of a GET": f"GET /1 HTTP/1.1\r\n{HOST}{SIZE}\r\n{INNER}",
    "chunks of a HEAD": f"HEAD /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{CHUNK}",
    "length and chunks": f"POST /1 HTTP/1.1\r\n{HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK}",
    "chunks and length": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{CHUNK}",
    "two lengths": f"POST /1 HTTP/1.1\r\n{HOST}Content-Length: 0\r\n{SIZE}\r\n{INNER}",
    "a list of lengths": f"POST /1 HTTP/1.1\r\n{HOST}Content-Length: 0, {len(INNER)}\r\n\r\n{INNER}",
    "a length with a sign": f"POST /1 HTTP/1.1\r\n{HOST}Content-Length: +{len(INNER)}\r\n\r\n{INNER}",
    "a blank before the colon": f"POST /1 HTTP/1.1\r\n{HOST}Content-Length : {len(INNER)}\r\n\r\n{INNER}",
    "another coding": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n{CHUNK}",
    "two codings": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: identity, chunked\r\n\r\n{CHUNK}",
    "a tab": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding:\tchunked\r\n\r\n{CHUNK}",
    "a folded line": f"POST /1 HTTP/1.1\r\n{HOST}X: 1\r\n Transfer-Encoding: chunked\r\n\r\n{CHUNK}",
    "a line of LF": f"POST /1 HTTP/1.1\r\n{HOST}X: 1\n{SIZE}\r\n{INNER}",
    "CR in a value": f"POST /1 HTTP/1.1\r\n{HOST}X: 1\r{SIZE}\r\n{INNER}",
    "chunks of 1.0": f"POST /1 HTTP/1.0\r\n{HOST}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK}",
    "an extension": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{EXTENDED}",
    "a trailer": f"POST /1 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{CHUNK[:-2]}Content-Length: 9\r\n\r\n",
    "a named header": f"POST /1 HTTP/1.1\r\n{HOST}Connection: Content-Length\r\n{SIZE}\r\n{INNER}",
    "an upgrade to h2c": f"GET /1 HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    f"HTTP2-Settings: x\r\n\r\n{INNER.replace('smuggled', '2')}",
}  # fmt: skip


def reads_all(connection: Connection) -> None:
    """One request by either protocol, noted as ``(target, size of its body)``; then the connection's end."""
    first = connection.exactly(1)
    if first == b"\0":
        rest = connection.exactly(3)
        connection.vars = dict(decode_vars(connection.exactly(rest[0] | rest[1] << 8)))
        connection.header = connection.vars[b"REQUEST_URI"]
        size = len(connection.body())
    else:
        head = first
        while not head.endswith(b"\r\n\r\n"):
            head += connection.exactly(1)
        connection.header = head.split(b" ")[1]
        length = re.search(rb"\r\ncontent-length: ?(\d+)\r\n", head, re.IGNORECASE)
        size = len(connection.exactly(int(length[1]))) if length else 0
        if b"chunked" in head:
            size = 0
            while piece := int(_line(connection), 16):
                size += len(connection.exactly(piece + 2)) - 2
            connection.exactly(2)
    connection.vars[b"size"] = b"%d" % size
    connection.worker.requests.append(connection)
    connection.send(response(b"ok", b"Connection: close\r\n"))


def _line(connection: Connection) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += connection.exactly(1)
    return line


@pytest.fixture(scope="module", params=[way for way in WAYS if way[0] != "nginx"], ids="-".join)
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Way, Worker]]:
    mode, protocol = request.param
    with ExitStack() as stack:
        worker = stack.enter_context(Worker(reads_all))
        yield stack.enter_context(Way(mode, Node("a.test", worker.address, protocol))), worker


@pytest.mark.parametrize("what", REQUESTS)
def test_no_request_comes_out_of_another_one(site: tuple[Way, Worker], what: str) -> None:
    way, worker = site
    worker.requests.clear()
    last = f"GET /last HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", way.port), timeout=20) as client:
        client.sendall((REQUESTS[what] + last).encode("latin-1"))
        answers = b""
        try:
            while piece := client.recv(65536):
                answers += piece
        except ConnectionResetError:
            pass
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)
    taken = [request.header.decode() for request in worker.requests]
    assert "/smuggled" not in taken, answers
    # What the worker got is what nginx answered with it, in that order.
    assert len(taken) == statuses.count(b"200"), answers
    assert taken == [target for target in ("/1", "/2", "/last") if target in taken]
    assert all(status in (b"200", b"400", b"501", b"411", b"413") for status in statuses), answers
