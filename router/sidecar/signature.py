"""uWSGI's signature of a subscription, from the worker's side: RSA PKCS #1 v1.5 (docs/reference/wire.md, "Signature").

The library that signs, ``cryptography``, is imported when a key is read: only ``--sign`` needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fastroute.router.protocol.wire import append_vars

#: What uWSGI can verify.
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_MIN_BITS, _MAX_BITS = 1024, 16_384

#: Signs data.
Sign = Callable[[bytes], bytes]


def read_key(pem: bytes, digest: str) -> Sign:
    """A function that signs with the private key in ``pem``; ``ValueError`` when there is none that we can use."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise ValueError("signing needs the Python package cryptography, which is not installed here") from None
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("no RSA private key in PEM without passphrase (openssl genrsa makes one)") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the private key is no RSA key (openssl genrsa makes one)")
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(f"an RSA key of {key.key_size} bits; {_MIN_BITS} to {_MAX_BITS} expected")
    algorithm: hashes.HashAlgorithm = getattr(hashes, digest.upper())()
    return lambda data: key.sign(data, padding.PKCS1v15(), algorithm)


@dataclass(slots=True)
class Signer:
    """Signs one announcer's packets to one router: stamps never fall, and a leave is newer than every join."""

    sign: Sign
    _last_stamps: dict[str, int] = field(default_factory=dict)

    def seal(self, packet: bytes, node: str, *, leaving: bool, wall: float) -> bytes:
        """``packet`` about ``node`` with ``unix`` and ``sign``; ``wall``: seconds since the epoch."""
        last = self._last_stamps.get(node, 0)
        stamp = max(int(wall) + 1, last + 1) if leaving else max(int(wall), last)
        self._last_stamps[node] = stamp
        stamped = append_vars(packet, [(b"unix", b"%d" % stamp)])
        return append_vars(stamped, [(b"sign", self.sign(stamped[4:]))])
