"""Keys: how they are written, and how the one that a request asks for is looked up.  Pure.

A key is ``host``, ``*.host``, ``host:port`` or either with ``/path``: at most 255 bytes, as text in latin-1 (the wire
has bytes, HTTP_HOST may hold any).  :func:`normalise_key` is for what arrives by datagram and never refuses;
:func:`parse_key` is for what people write (labels, files, options) and says what is wrong.
"""

from __future__ import annotations

import re

MAX_KEY = 255

_HOST = r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_KEY = re.compile(rf"(?:{_HOST}|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._~!&'()+,;=:@%/-]*)?")


class KeyProblem(ValueError):
    """The text is no key; the message says what was expected."""


def normalise_key(text: str) -> str:
    """``text`` with its host part in lower case without trailing dot, and its path without trailing slash."""
    host, slash, path = text.partition("/")
    name, colon, port = host.lower().rpartition(":")
    if not colon or not port.isdigit():
        name, colon, port = host.lower(), "", ""
    if name.endswith(".") and len(name) > 1:
        name = name[:-1]
    path = path.rstrip("/")
    return name + colon + port + (slash + path if path else "")


def parse_key(text: str) -> str:
    """The normalised key that ``text`` writes; ``KeyProblem`` when it writes none."""
    key = normalise_key(text)
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY:
        raise KeyProblem(
            f"{text[:80]!r} is no key: a host name expected, optionally with '*.' in front, ':port' or '/path' behind,"
            f" at most {MAX_KEY} bytes (like foo.com, *.foo.com, foo.com/api)"
        )
    return key


def spellings(asked: bytes) -> list[bytes]:
    """How a requested key is looked up: exactly as it came, lower-cased without trailing dot, and without port."""
    lower = normalise_key(asked.decode("latin-1")).encode("latin-1", "replace")
    host, colon, port = lower.rpartition(b":")
    forms = [asked, lower]
    if colon and (port.isdigit() or not port) and not (host.count(b":") and not host.endswith(b"]")):
        forms.append(host[:-1] if host.endswith(b".") and len(host) > 1 else host)
    return list(dict.fromkeys(forms))


def wildcards(host: bytes) -> list[bytes]:
    """The wildcard keys that match ``host``, longest first: ``*.b.c`` and ``*.c`` for ``a.b.c``."""
    found = []
    dot = host.find(b".")
    while dot >= 0:
        found.append(b"*" + host[dot:])
        dot = host.find(b".", dot + 1)
    return found


def dotsplits(asked: bytes) -> list[bytes]:
    """uWSGI's ``subscription-dotsplit``: ``.b.c``, ``.c`` for ``a.b.c``; at most five look-ups in all."""
    return [wildcard[1:] for wildcard in wildcards(asked)[:4]]


def path_prefixes(path: bytes, depth: int) -> list[bytes]:
    """What is appended to a host to find a key with a path, longest first: ``/a/b``, ``/a`` for ``/a/b/c``, depth 2."""
    segments = path.split(b"?", 1)[0].rstrip(b"/").split(b"/")[1 : depth + 1]
    return [b"/" + b"/".join(segments[:count]) for count in range(len(segments), 0, -1)]
