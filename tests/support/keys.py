"""RSA keys for signed subscriptions, and what they sign: as openssl's genrsa, rsa -pubout and dgst -sign do."""

from __future__ import annotations

import functools
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fastroute.router.protocol.wire import append_vars


def key_pair(number: int = 0) -> rsa.RSAPrivateKey:
    """The key ``number``, made once: making one takes a tenth of a second."""
    return _made(number)


@functools.cache
def _made(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


def write_public(file: Path, key: rsa.RSAPrivateKey) -> None:
    """Its public half, as the router reads it."""
    public = key.public_key()
    file.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def write_private(file: Path, key: rsa.RSAPrivateKey) -> None:
    """All of it, as a worker reads it."""
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def signed(packet: bytes, stamp: int, key: rsa.RSAPrivateKey) -> bytes:
    """``packet`` with ``unix`` and ``sign``, as a uWSGI worker sends it."""
    stamped = append_vars(packet, [(b"unix", b"%d" % stamp)])
    return append_vars(stamped, [(b"sign", key.sign(stamped[4:], padding.PKCS1v15(), hashes.SHA256()))])
