"""Error pages: their names, what is replaced in them, how the master hands them to the relays.  Pure.

The relays get all pages as one block of bytes: an index in JSON, a line feed, and the pages behind it.  All relays map
the same memory, so that pages of thousands of keys are there once.
"""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import unquote

from fastroute.router.protocol.key import KeyProblem, parse_key

#: The files that are read of a directory; what a request is answered with by default is in relay/own_answer.py.
PAGE_NAMES: Final = ("404.html", "502.html", "503.html", "504.html", "maintenance.html")
#: Bytes of one page, and of all together.
MAX_PAGE: Final = 65_536
MAX_PAGES_SIZE: Final = 16 << 20
#: What is replaced.  A name that goes on (``$keyboard``) is another one, and stays.
PLACEHOLDER: Final = re.compile(rb"\$(key|message|request_id|status)(?![A-Za-z0-9_])")
#: Placeholders of one page: each may become 1,800 bytes, and an answer has to stay small.
MAX_PLACEHOLDERS: Final = 64

#: Key (empty: the pages of all keys) and file name -> where the page begins, and its size.
PageIndex = dict[tuple[str, str], tuple[int, int]]


def folder_key(name: str) -> str:
    """The key whose pages a folder called ``name`` has: percent-encoded, so that a slash can be written (``%2F``).

    ``KeyProblem``: it writes none.
    """
    try:
        return parse_key(unquote(name, errors="strict"))
    except UnicodeError:
        raise KeyProblem(f"{name[:80]!r} is no key: percent-encoded UTF-8 expected") from None


def page_problem(page: bytes) -> str:
    """Why ``page`` can't be sent; empty: it can."""
    if not page:
        return "is empty"
    if len(page) > MAX_PAGE:
        return f"has more than {MAX_PAGE} bytes"
    if len(PLACEHOLDER.findall(page)) > MAX_PLACEHOLDERS:
        return f"has more than {MAX_PLACEHOLDERS} placeholders"
    try:
        page.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start})"
    return ""


class PageBlock:
    """Collects pages, and makes one block of bytes of them."""

    def __init__(self) -> None:
        self.index: PageIndex = {}
        self._pages: list[bytes] = []
        self._starts: dict[bytes, int] = {}
        self._size = 0

    def add(self, key: str, name: str, page: bytes) -> str:
        """Add the page ``name`` of ``key``; returns why it can't be, empty if it was.  Equal pages are kept once."""
        if problem := page_problem(page):
            return problem
        start = self._starts.get(page)
        if start is None:
            start = self._size
            if start + len(page) > MAX_PAGES_SIZE:
                return f"does not fit: all pages together may have {MAX_PAGES_SIZE} bytes"
            self._size += len(page)
            self._starts[page] = start
            self._pages.append(page)
        self.index[key, name] = (start, len(page))
        return ""

    def to_bytes(self) -> bytes:
        """For :func:`read_index`."""
        rows = [[key, name, start, size] for (key, name), (start, size) in self.index.items()]
        return b"".join([json.dumps(rows).encode(), b"\n", *self._pages])


def read_index(head: bytes) -> PageIndex:
    """The index of a block, whose first line is ``head``; places are counted from the byte behind that line."""
    return {(key, name): (start, size) for key, name, start, size in json.loads(head)}
