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
    "bad-gateway": "502 Bad Gateway",
    "timeout": "504 Gateway Timeout",
    "bad-request": "400 Bad Request",
    "too-large": "413 Content Too Large",
}


class Refusal:
    """This request is answered by the relay itself: ``kind`` of the answer, and ``text`` for people."""

    __slots__ = ("kind", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text


def reply(kind: str, text: str, more: str = "") -> bytes:
    """The whole response of ``kind``, with ``text`` as its body and ``more`` header lines.  It ends the connection."""
    body = printable(text) + b"\n"
    retry = "Retry-After: 1\r\n" if kind == "no-node" else ""
    head = (
        f"HTTP/1.1 {STATUS[kind]}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"X-Fastroute-Error: {kind}\r\n{more}{retry}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def printable(text: str) -> bytes:
    """``text`` without anything a terminal or a browser could take for more than text."""
    return "".join(c if c.isprintable() and c not in "<>&" else "?" for c in text[:300]).encode("utf-8", "replace")
