"""Choose the address pool for a dockerd that we start: private, and nobody else's.

Reads `ip -4 -o addr` and `ip -4 route show table all` from standard input (and the name servers from
/etc/resolv.conf), prints one /16.  10.0.0.0/8 is left out altogether: it is what larger networks are made of, and a
route to one of them may come up later.
"""

from __future__ import annotations

import ipaddress
import re
import sys

ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?\b")
CANDIDATES = [
    *(f"172.{second}.0.0/16" for second in (30, 29, 28, 27, 26, 25, 24, 31, 23, 22, 21, 20, 19, 18, 17, 16)),
    "192.168.0.0/16",
]


def taken(text: str) -> list[ipaddress.IPv4Network]:
    """Every address and network that stands in ``text``, but the default route's 0.0.0.0/0."""
    found = []
    for match in ADDRESS.findall(text):
        try:
            network = ipaddress.IPv4Network(match, strict=False)
        except ValueError:
            continue
        if network.prefixlen > 0 and not network.network_address.is_unspecified:
            found.append(network)
    return found


def choose(text: str) -> str | None:
    """The first candidate that overlaps nothing in ``text``."""
    used = taken(text)
    for candidate in CANDIDATES:
        network = ipaddress.IPv4Network(candidate)
        if not any(network.overlaps(other) for other in used):
            return candidate
    return None


if __name__ == "__main__":
    pool = choose(sys.stdin.read())
    if pool is None:
        sys.exit("every private /16 outside 10.0.0.0/8 is in use on this machine")
    print(pool)  # noqa: T201
