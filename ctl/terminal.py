"""Standard output and error, behind which an operator's terminal stands.  An edge.

Labels, keys and error texts come from whoever could start a container or send a datagram, and a terminal obeys what is
in them: escape sequences, C1 controls, marks that turn the direction of text.  So while a verb runs, both streams
escape every character that is not printable, whoever writes.  What fastroute-ctl itself says to the terminal (colours,
the cursor of --watch) goes through :func:`write_own`, and so does what machines read to the byte.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from fastroute.router.runtime.logs import printable

_LAYOUT = "\n\t"


class SafeStream:
    """As much of a text stream as print, click and rich use.  ``own`` is the one behind it; there is no ``buffer``, as
    that would be a way around."""

    def __init__(self, own: TextIO) -> None:
        self.own = own

    @property
    def encoding(self) -> str:
        """The encoding of the stream behind it."""
        return self.own.encoding

    def isatty(self) -> bool:
        """Whether a terminal is behind it."""
        return self.own.isatty()

    def fileno(self) -> int:
        """The descriptor of the stream behind it."""
        return self.own.fileno()

    def flush(self) -> None:
        """Flush the stream behind it."""
        self.own.flush()

    def write(self, text: str | bytes) -> int:
        """Write ``text`` (click has its completions as bytes), escaped."""
        _put(self.own, safe(text if isinstance(text, str) else text.decode("utf-8", "replace")))
        return len(text)


def safe(text: str) -> str:
    """``text`` without anything that a terminal would obey; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(character if character in _LAYOUT else printable(character) for character in text)


def write_own(text: str) -> None:
    """Write ``text`` to standard output as it is: whoever calls this answers for it."""
    out: object = sys.stdout
    _put(out.own if isinstance(out, SafeStream) else sys.stdout, text)


def _put(stream: TextIO, text: str) -> None:
    """Write ``text`` as well as possible where the locale has no such letters."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))


@contextmanager
def safe_streams() -> Iterator[None]:
    """Both standard streams are safe while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, SafeStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
