"""The head that an HTTP/1.1 worker gets of a request that came as HTTP/1.1: without vars in between.  Pure.

It has the lines that head.py makes of the vars that request_vars.py makes of the request, in another order; tests hold
that, whatever the request (tests/fuzz/http.py).  Nothing of the client's head goes on as it came: names are ours, the
length is the one that we read.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.http.head import BODIED, CHUNKED, Head, ascii_target
from fastroute.router.relay.http.request_head import RequestHead
from fastroute.router.relay.http.request_vars import HttpPeer

_END: Final = b"\r\n\r\n"


def worker_head(request: RequestHead, peer: HttpPeer) -> Head:
    """The head for ``request``, which came from ``peer``."""
    method = request.method
    parts = [method, b" ", ascii_target(request.target), b" HTTP/1.1", peer.origin_of(request).lines()]
    for line in request.headers.values():
        parts.append(line.as_line())
    if request.chunked:
        parts.append(b"\r\nTransfer-Encoding: chunked")
    elif request.content_length or method in BODIED:
        parts.append(b"\r\nContent-Length: %d" % request.length)
    if request.content_type:
        parts += (b"\r\nContent-Type: ", request.content_type)
    if request.upgrade:
        parts += (b"\r\nConnection: Upgrade\r\nUpgrade: ", request.upgrade)
    parts.append(_END)
    return Head(b"".join(parts), CHUNKED if request.chunked else request.length, bool(request.upgrade), method)
