"""What is kept of a request whose answer is read on its way.  Pure."""

from __future__ import annotations

from fastroute.router.relay.http.answer import Answer
from fastroute.router.relay.http.body import Body


class Exchange:
    """``request``: the bytes for the worker that are there already.  ``body``: how the rest goes on; ``None``: as it
    comes (uwsgi).  ``safe``: a GET or HEAD without body.  ``reused``: the connection had served another request.
    ``early``: the answer began before the worker had all of the request."""

    __slots__ = ("answer", "body", "early", "request", "reused", "safe")

    def __init__(self, request: bytes, answer: Answer, body: Body | None, safe: bool) -> None:
        self.request = request
        self.answer = answer
        self.body = body
        self.safe = safe
        self.reused = self.early = False
