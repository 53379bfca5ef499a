"""What the relay changes in requests to the nodes of a key, and in their answers.  Pure.

Most keys have nothing of it, and their requests do not come here: a node knows whether they do (``Node.passes``).
"""

from __future__ import annotations

from fastroute.router.protocol.node_options import KeyOptions
from fastroute.router.relay.cookies import SessionCookie
from fastroute.router.relay.mount import Mount


class Rewriting:
    """What is changed for ``key`` with these ``options``."""

    __slots__ = ("cookie", "mount")

    def __init__(self, key: str, options: KeyOptions) -> None:
        path = b"/".join([b"", *key.encode("latin-1", "replace").split(b"/")[1:]])
        #: None: clients do not stay with their node.
        self.cookie = SessionCookie(options.cookie.encode("latin-1"), path or b"/") if options.cookie else None
        #: None: applications see the whole path.
        self.mount = Mount(path) if path and options.mount == "script-name" else None

    def cookie_line(self, session: bytes, packet: bytes, end: int) -> bytes:
        """The header line for the answer of the node that has this ``session``; empty if the client has it already."""
        cookie = self.cookie
        if cookie is None or not session or session in cookie.values(packet, end):
            return b""
        return cookie.line(session, packet, end)


def rewriting_of(key: str, options: KeyOptions) -> Rewriting | None:
    """The rewriting for ``key``; None where nothing is changed."""
    rewriting = Rewriting(key, options)
    return rewriting if rewriting.cookie is not None or rewriting.mount is not None else None
