"""The value of the cookie by which clients stay with a node (``sticky``).  Pure.

It is a digest, the same in every router and after every restart of one, and tells nobody an address:

* of a node that is announced for a container, of the container's id and the worker's port: it stays as long as the
  container exists, also when that is started again or gets another address;
* of any other node, of key and address.  With a secret that all routers have (``--subscription-secret-file``) the
  digest is keyed; without one, whoever has a value could try addresses until one fits.
"""

from __future__ import annotations

import base64
import hashlib

from fastroute.router.control.table.membership import AnnouncedPool, Member
from fastroute.router.protocol.address import parse_address

#: Bytes of the digest; its text has 16 characters.
_SIZE = 12


def session_value(pool: AnnouncedPool, member: Member, secret: bytes) -> str:
    """The value for ``member`` of ``pool``; empty where clients do not stay.  ``secret`` may be empty."""
    if not pool.sticky:
        return ""
    owners = [(-claim.id.rank, _container(claim.entry.owner)) for claim in member.claims.values()]
    containers = sorted(owner for owner in owners if owner[1])
    address = parse_address(member.address)
    if containers:
        text = f"container\0{containers[0][1]}\0{address.port or address.path}"
    else:
        text = f"address\0{pool.name}\0{member.address}"
    hashed = hashlib.blake2b(secret, digest_size=32).digest() if secret else b""
    digest = hashlib.blake2b(text.encode("latin-1", "replace"), digest_size=_SIZE, key=hashed, person=b"fr-sticky")
    return base64.urlsafe_b64encode(digest.digest()).decode()


def _container(owner: str) -> str:
    container, at, _ = owner.partition("@")
    return container if at else ""
