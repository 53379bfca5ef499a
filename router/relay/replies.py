"""The relay's own answers, for requests that no worker answers.  Pure; docs/reference/requests.md.

nginx passes them to the browser as they are, so they begin with an HTTP/1.1 status line, carry their length, and
say in one line of text what was wrong, for whoever reads it: a browser, a log, a script.
"""

from __future__ import annotations

from typing import Final

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


class Refusal:
    """This request is answered by the relay itself: ``kind`` of the answer, and ``text`` for people.

    ``waited``: seconds that it waited for a node; negative when it did not.
    """

    __slots__ = ("kind", "text", "waited")

    def __init__(self, kind: str, text: str, waited: float = -1.0) -> None:
        self.kind = kind
        self.text = text
        self.waited = waited


def reply(refusal: Refusal, more: str = "") -> bytes:
    """The whole response for ``refusal``, with its text as the body and ``more`` header lines.  It ends the connection.
    """
    kind, status = refusal.kind, STATUS[refusal.kind]
    body = printable(refusal.text) + b"\n"
    waited = f"X-Fastroute-Waited: {refusal.waited:.1f}\r\n" if refusal.waited >= 0 else ""
    retry = "Retry-After: 1\r\n" if status.startswith("503") else ""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"X-Fastroute-Error: {kind}\r\n{more}{waited}{retry}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def printable(text: str) -> bytes:
    """``text`` without anything a terminal or a browser could take for more than text."""
    return "".join(c if c.isprintable() and c not in "<>&" else "?" for c in text[:300]).encode("utf-8", "replace")
