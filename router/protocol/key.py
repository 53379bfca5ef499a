"""Keys: how they are written, and how the one that a request asks for is looked up.  Pure.

A key is ``host``, ``*.host``, ``host:port`` or either with ``/path``: at most 255 bytes, as text in latin-1 (the wire
has bytes, HTTP_HOST may hold any).  :func:`normalise_key` is for what arrives by datagram and never refuses;
:func:`parse_key` is for what people write (labels, files, options) and says what is wrong; :func:`named_key` is for
people who name a key that should be there.

People may write a host name in their own script and a path in percent-encoding.  Requests have neither: clients send
``xn--...`` (:mod:`.idn`), and nginx decodes paths before anything is looked up, so both are converted once, here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from fastroute.router.protocol.idn import to_ascii, to_unicode

MAX_KEY = 255

_HOST = r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_KEY = re.compile(rf"(?:{_HOST}|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._~!&'()+,;=:@/-]*)?")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})?")
_SLASHES = re.compile(rb"//+")
_DOTS = re.compile(r"/\.{1,2}(?:/|$)")
_PATH_CHARACTER = re.compile("[A-Za-z0-9._~!&'()+,;=:@/-]")


class KeyProblem(ValueError):
    """The text is no key; the message says what was expected."""


def normalise_key(text: str) -> str:
    """``text`` with its host part in lower case without trailing dot, and its path without slashes too many."""
    host, slash, path = text.partition("/")
    name, colon, port = host.lower().rpartition(":")
    if not colon or not port.isdigit():
        name, colon, port = host.lower(), "", ""
    if name.endswith(".") and len(name) > 1:
        name = name[:-1]
    if "//" in text:
        path = re.sub("//+", "/", path).lstrip("/")
    path = path.rstrip("/")
    return name + colon + port + (slash + path if path else "")


def parse_key(text: str) -> str:
    """The normalised key that ``text`` writes, in ASCII; ``KeyProblem`` when it writes none."""
    host, slash, path = text.partition("/")
    try:
        key = normalise_key(to_ascii(host) + slash + _decoded(path))
    except ValueError as problem:
        raise KeyProblem(f"{text[:80]!r} is no key: {problem}") from None
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY:
        raise KeyProblem(
            f"{text[:80]!r} is no key: a host name expected, optionally with '*.' in front, ':port' or '/path' behind,"
            f" at most {MAX_KEY} bytes (like foo.com, *.foo.com, foo.com/api)"
        )
    return key


def named_key(text: str) -> str:
    """The key that people mean by ``text``, of those that are there; what nobody could write as a key means itself.

    A worker may have announced any bytes: whoever looks for a key looks for ``text`` itself first."""
    try:
        return parse_key(text)
    except KeyProblem:
        return normalise_key(text)


def shown_key(key: str) -> str:
    """``key`` for people: ``xn--bcher-kva.test (bücher.test)`` where the two differ."""
    host, slash, path = key.partition("/")
    script = to_unicode(host) + slash + path
    return key if script == key else f"{key} ({script})"


def _decoded(path: str) -> str:
    """``path`` as nginx passes it on: percent-decoded once.  ``ValueError`` for what no key can hold."""
    if not path.isascii():
        raise ValueError("the path of a key has ASCII characters only")
    for escape in _ESCAPE.finditer(path):
        if escape[1] is None:
            raise ValueError("a '%' in the path without two hex digits behind it")
        if not _PATH_CHARACTER.fullmatch(unquote(escape[0], "latin-1")):
            raise ValueError(
                f"requests have their path percent-decoded before it is looked up, and {escape[0]} stands for a"
                " character that the path of a key can't have"
            )
    decoded = re.sub("/+", "/", unquote(path, "latin-1"))
    if _DOTS.search(f"/{decoded}"):
        raise ValueError(
            "requests have '/.' and '/..' resolved before their path is looked up, so that none has such a path"
        )
    return decoded.removeprefix("/")


def example_host(key: str) -> str:
    """The Host of a request that asks for ``key``; under a wildcard, one of those that match."""
    return key.partition("/")[0].replace("*", "probe")


def spellings(requested: bytes) -> list[bytes]:
    """How a requested key is looked up: exactly as it came, lower-cased without trailing dot, and without port."""
    lower = normalise_key(requested.decode("latin-1")).encode("latin-1", "replace")
    host, colon, port = lower.rpartition(b":")
    forms = [requested, lower]
    if colon and (port.isdigit() or not port) and not (host.count(b":") and not host.endswith(b"]")):
        forms.append(host[:-1] if host.endswith(b".") and len(host) > 1 else host)
    return list(dict.fromkeys(forms))


def hosts_of(requested: bytes) -> list[bytes]:
    """The hosts of keys that a request for ``requested`` may mean, in the order of the search: its spellings, then
    wildcards, longest first."""
    forms = spellings(requested)
    above = [wildcard for form in forms for wildcard in wildcards(form)]
    return [*(form for form in forms if len(form) <= MAX_KEY), *sorted(above, key=_labels, reverse=True)]


def _labels(key: bytes) -> int:
    return key.count(b".")


def wildcards(host: bytes) -> list[bytes]:
    """The wildcard keys that match ``host``, longest first: ``*.b.c`` and ``*.c`` for ``a.b.c``.

    A request may ask for any number of bytes, so what is too long for a key is never made (nor in the functions below).
    """
    keys = []
    dot = host.find(b".", max(0, len(host) - (MAX_KEY - 1)))
    while dot >= 0:
        keys.append(b"*" + host[dot:])
        dot = host.find(b".", dot + 1)
    return keys


def less_specific(key: str) -> list[str]:
    """The keys that a request for ``key`` finds if that one is not there, in the order of the search: shorter paths,
    the host without port, wildcards."""
    host, slash, path = key.encode("latin-1", "replace").partition(b"/")
    prefixes = [*path_prefixes(slash + path, MAX_KEY), b""]
    keys = dict.fromkeys((host_form + prefix).decode("latin-1") for host_form in hosts_of(host) for prefix in prefixes)
    keys.pop(key, None)
    return list(keys)


def path_prefixes(path: bytes, depth: int) -> list[bytes]:
    """What is appended to a host to find a key with a path, longest first: ``/a/b``, ``/a`` for ``/a/b/c``, depth 2."""
    whole = path.partition(b"?")[0].rstrip(b"/")
    if b"//" in whole:
        # As a worker may read it: "//admin" must not pass by the key of "/admin".
        whole = _SLASHES.sub(b"/", whole)
    start = slash = whole.find(b"/")
    prefixes: list[bytes] = []
    while slash >= 0 and len(prefixes) < depth:
        slash = whole.find(b"/", slash + 1, start + MAX_KEY + 1)
        if slash >= 0:
            prefixes.append(whole[start:slash])
        elif len(whole) - start <= MAX_KEY:
            prefixes.append(whole[start:])
    return prefixes[::-1]
