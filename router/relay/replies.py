"""The relay's own answers, for requests that no worker answers.  Pure; docs/reference/requests.md.

nginx passes them to the browser as they are, so they begin with an HTTP/1.1 status line and carry their length.  Their
body is one line of text that says what was wrong, unless own_answer.py has something better for who asks.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.serving_state import MAINTENANCE

#: kind (X-Fastroute-Error, and the label of the counter) -> status line
STATUS: Final = {
    "no-key": "404 Not Found",
    "no-node": "503 Service Unavailable",
    "queue-full": "503 Service Unavailable",
    "maintenance": "503 Service Unavailable",
    "bad-gateway": "502 Bad Gateway",
    "timeout": "504 Gateway Timeout",
    "bad-request": "400 Bad Request",
    "too-large": "413 Content Too Large",
}

#: Characters of a text that are shown.
MAX_TEXT: Final = 300


class Refusal:
    """This request is answered by the relay itself: ``kind`` of the answer, and ``text`` for people.

    ``waited``: seconds that it waited for a node; negative when it did not.  ``may_wait``: there is only no node that
    may take the request now, and it may wait for one.  ``of_node``: the node that was tried last should have answered.
    """

    __slots__ = ("kind", "may_wait", "of_node", "text", "waited")

    def __init__(self, kind: str, text: str, waited: float = -1.0, may_wait: bool = False,
                 of_node: bool = False) -> None:  # fmt: skip
        self.of_node = of_node
        self.kind = kind
        self.may_wait = may_wait
        self.text = text
        self.waited = waited


def response(refusal: Refusal, content_type: str, body: bytes, request: str = "", head_only: bool = False,
             keep: bool = False) -> bytes:  # fmt: skip
    """The whole response for ``refusal``, which ends the connection unless that may ``keep`` on.  ``request`` is the id
    of the request; empty: it has none.  ``head_only``: the request's method is HEAD, so the ``body`` stays here."""
    status = STATUS[refusal.kind]
    request_id = f"X-Request-ID: {request}\r\n" if request else ""
    waited = f"X-Fastroute-Waited: {refusal.waited:.1f}\r\n" if refusal.waited >= 0 else ""
    end = "" if keep else "Connection: close\r\n"
    sniff = "X-Content-Type-Options: nosniff\r\n" if refusal.kind == MAINTENANCE else ""
    retry = "Retry-After: 1\r\n" if status.startswith("503") else ""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"X-Fastroute-Error: {refusal.kind}\r\n{request_id}{waited}{retry}{sniff}Cache-Control: no-store\r\n"
        f"{end}\r\n"
    )
    return head.encode("ascii") if head_only else head.encode("ascii") + body


def printable(text: str) -> str:
    """The beginning of ``text``, without anything that a terminal could take for more than text."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])


def as_text(refusal: Refusal) -> bytes:
    """The text of ``refusal`` as the body of an answer.

    A line without anything that a browser could take for more than text, as clients have a hand in it; but what an
    operator wrote stays as it is, and ``response`` forbids browsers to take it for more.
    """
    text = printable(refusal.text)
    if refusal.kind != MAINTENANCE:
        text = "".join("?" if c in "<>&" else c for c in text)
    return text.encode("utf-8", "replace") + b"\n"
