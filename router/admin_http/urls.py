"""URLs of admins: ``http://HOST:PORT``, or ``http+unix://PATH`` for one at a unix socket.  Pure."""

from __future__ import annotations

from urllib.parse import unquote

UNIX = "http+unix://"


def socket_path(url: str) -> str | None:
    """The path of the unix socket that ``url`` names; None: it names none."""
    return unquote(url.removeprefix(UNIX)).rstrip("/") if url.startswith(UNIX) else None
