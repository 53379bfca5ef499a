"""uWSGI's ``subscription-dotsplit``: keys with a leading dot stand for all hosts below them.  Pure."""

from __future__ import annotations

from fastroute.router.protocol.key import MAX_KEY, spellings

#: Look-ups of one host, itself included, as in the original.
MAX_LOOKUPS = 5


def dotsplit_hosts(requested: bytes) -> list[bytes]:
    """The hosts of keys that are looked up besides, for a request that asks for ``requested``."""
    return [host for form in spellings(requested) for host in dotsplits(form)]


def dotsplits(host: bytes) -> list[bytes]:
    """``.b.c``, ``.c`` for ``a.b.c``."""
    hosts = []
    dot = host.find(b".")
    for _ in range(MAX_LOOKUPS - 1):
        if dot < 0:
            break
        if len(host) - dot <= MAX_KEY:
            hosts.append(host[dot:])
        dot = host.find(b".", dot + 1)
    return hosts
