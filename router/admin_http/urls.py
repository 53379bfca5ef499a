"""URLs of admins: ``http://HOST:PORT``, or ``http+unix://PATH`` for one at a unix socket.  Pure."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from fastroute.router.config.configuration import shown

UNIX = "http+unix://"


def socket_path(url: str) -> str | None:
    """The path of the unix socket that ``url`` names; None: it names none."""
    return unquote(url.removeprefix(UNIX)).rstrip("/") if url.startswith(UNIX) else None


def admin_url(text: str) -> str:
    """The URL of an admin, from an option; ``ValueError`` says what was expected."""
    path = socket_path(text)
    if path is None:
        check_url(text, f"http://HOST:PORT or {UNIX}/PATH")
    elif not path.startswith("/"):
        raise ValueError(f"{shown(text)}: an absolute path expected (like {UNIX}/run/fastroute/admin.sock)")
    return text.rstrip("/")


def check_url(text: str, expected: str) -> None:
    """``ValueError`` unless ``text`` is a URL of HTTP or HTTPS with a host."""
    try:
        parts = urlsplit(text)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        complete = False
    if not complete or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{shown(text)}: {expected} expected")
