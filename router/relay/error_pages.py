"""The operator's pages for our own answers (``--error-pages``): which one, and what it looks like for a request.  Pure.

A page of the key goes before one of all keys; ``maintenance.html`` goes before ``503.html``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastroute.router.config.error_pages import PLACEHOLDER, PageIndex

#: Kind of our own answer -> the pages that it may have, best first.  400 and 413 come before a key is known.
PAGES: Final = {
    "no-key": ("404.html",),
    "no-node": ("503.html",),
    "queue-full": ("503.html",),
    "maintenance": ("maintenance.html", "503.html"),
    "bad-gateway": ("502.html",),
    "timeout": ("504.html",),
}


class ErrorPages:
    """All pages: ``index`` says where they are in ``block``, counted from ``begin`` on."""

    __slots__ = ("_begin", "_block", "_index", "of_keys")

    def __init__(self, index: PageIndex, block: memoryview, begin: int = 0) -> None:
        self._index = index
        self._block = block
        self._begin = begin
        #: Some pages are those of one key.
        self.of_keys = any(key for key, _ in index)

    def find(self, kind: str, keys: Sequence[str]) -> bytes:
        """The page for an answer of this ``kind`` to a request for one of ``keys``, best first; empty: none."""
        for key in (*keys, ""):
            for name in PAGES.get(kind, ()):
                place = self._index.get((key, name))
                if place is not None:
                    start = self._begin + place[0]
                    return bytes(self._block[start : start + place[1]])
        return b""


#: Where no pages are configured.
NO_PAGES: Final = ErrorPages({}, memoryview(b""))


def filled(page: bytes, values: dict[str, str]) -> bytes:
    """``page`` with its placeholders replaced by ``values``, HTML-escaped: none of them can be more than text."""
    # Only now: its table of all entities has 350 KB, and most relays have no pages.
    import html

    escaped = {name: html.escape(value).encode("utf-8", "replace") for name, value in values.items()}
    return PLACEHOLDER.sub(lambda match: escaped[match[1].decode("ascii")], page)
