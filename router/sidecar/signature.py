"""uWSGI's signature of a subscription, from the worker's side: RSA PKCS #1 v1.5 with what the standard library has.

docs/reference/wire.md, "Signature", has the rules; the router verifies with a real library.  The private key is read
from PEM, as ``openssl genrsa`` writes it (PKCS #1 or PKCS #8, no passphrase).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastroute.router.wire import append_vars

#: DigestInfo of PKCS #1 (RFC 8017, 9.2, note 1), up to the digest itself.
_PREFIX = {
    "md5": "3020300c06082a864886f70d020505000410",
    "sha1": "3021300906052b0e03021a05000414",
    "sha224": "302d300d06096086480165030402040500041c",
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}
DIGESTS = tuple(_PREFIX)
_PEM = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END (RSA )?PRIVATE KEY-----")
_INTEGER, _SEQUENCE = 0x02, 0x30


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Modulus and private exponent of an RSA key."""

    modulus: int
    exponent: int

    def sign(self, data: bytes, digest: str) -> bytes:
        """The signature of ``data`` with a digest of ``DIGESTS``."""
        size = (self.modulus.bit_length() + 7) // 8
        told = bytes.fromhex(_PREFIX[digest]) + hashlib.new(digest, data).digest()
        padded = b"\0\1" + b"\xff" * (size - len(told) - 3) + b"\0" + told
        return pow(int.from_bytes(padded, "big"), self.exponent, self.modulus).to_bytes(size, "big")


def read_key(text: str) -> PrivateKey:
    """The key that ``text`` holds in PEM; ``ValueError`` when it holds none that we can use."""
    found = _PEM.search(text)
    if not found:
        raise ValueError("no RSA private key in PEM without passphrase (openssl genrsa makes one)")
    try:
        fields = list(_fields(_content(base64.b64decode(found[2]), _SEQUENCE)))
        if not found[1]:
            fields = list(_fields(_content(fields[2][1], _SEQUENCE)))
        numbers = [int.from_bytes(value, "big") for tag, value in fields if tag == _INTEGER]
        key = PrivateKey(numbers[1], numbers[3])
    except (ValueError, IndexError):
        raise ValueError("the private key is damaged, or it is no RSA key") from None
    if not 1024 <= key.modulus.bit_length() <= 16_384:
        raise ValueError(f"an RSA key of {key.modulus.bit_length()} bits; 1024 to 16384 expected")
    return key


@dataclass(slots=True)
class Signer:
    """Signs one announcer's packets to one router: stamps never fall, and a leave is newer than every join."""

    digest: str
    key: PrivateKey
    _last: dict[str, int] = field(default_factory=dict)

    def seal(self, packet: bytes, node: str, *, leaving: bool, wall: float) -> bytes:
        """``packet`` about ``node`` with ``unix`` and ``sign``; ``wall``: seconds since the epoch."""
        last = self._last.get(node, 0)
        stamp = max(int(wall) + 1, last + 1) if leaving else max(int(wall), last)
        self._last[node] = stamp
        stamped = append_vars(packet, [(b"unix", b"%d" % stamp)])
        return append_vars(stamped, [(b"sign", self.key.sign(stamped[4:], self.digest))])


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER value in ``data``."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size


def _content(data: bytes, tag: int) -> bytes:
    """The content of the one DER value that ``data`` is."""
    found, content = next(_fields(data), (0, b""))
    if found != tag:
        raise ValueError(f"tag {found}")
    return content
