"""Our signatures are those that a real library verifies."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fastroute.router.protocol.subscription import Announcement, Entry, decode, encode_plain
from fastroute.router.sidecar.signature import DIGESTS, Signer, read_key

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PEMS = [
    KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    for form in (serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8)
]


@pytest.mark.parametrize("pem", PEMS)
@pytest.mark.parametrize("digest", DIGESTS)
def test_the_signature_verifies(digest: str, pem: bytes) -> None:
    signature = read_key(pem, digest)(b"some bytes")
    KEY.public_key().verify(signature, b"some bytes", padding.PKCS1v15(), getattr(hashes, digest.upper())())


def test_sign_is_the_last_pair_and_covers_all_before_it() -> None:
    entry = Entry("foo.com", "127.0.0.1:8000")
    signer = Signer(read_key(PEMS[0], "sha256"))
    packet = signer.seal(encode_plain(entry, Announcement(seq=4, ack=True)), "foo", leaving=False, wall=1000.5)
    told = decode(packet)
    assert isinstance(told, Announcement)
    assert (told.stamp, told.entries[0].key, told.ack) == (1000, "foo.com", True)
    signed = packet[4 : -(8 + len(told.signature))]
    KEY.public_key().verify(told.signature, signed, padding.PKCS1v15(), hashes.SHA256())


def test_stamps_never_fall_and_every_leave_is_newer_than_all_before_it() -> None:
    signer = Signer(read_key(PEMS[0], "sha1"))

    def stamp(leaving: bool, wall: float) -> int:
        told = decode(signer.seal(encode_plain(Entry("a", "b:1"), Announcement()), "n", leaving=leaving, wall=wall))
        assert isinstance(told, Announcement)
        return told.stamp

    assert [stamp(False, 100.0), stamp(True, 100.1), stamp(True, 100.2), stamp(False, 100.3), stamp(False, 200)] == [
        100, 101, 102, 102, 200,
    ]  # fmt: skip


@pytest.mark.parametrize("text", [b"", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"])
def test_what_is_no_key_is_said(text: bytes) -> None:
    with pytest.raises(ValueError, match="private key"):
        read_key(text, "sha1")


def test_a_key_with_a_passphrase_is_said() -> None:
    encrypted = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ValueError, match="without passphrase"):
        read_key(encrypted, "sha1")


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ValueError, match="cryptography, which is not installed"):
        read_key(PEMS[0], "sha1")


def test_a_key_of_another_kind_is_said() -> None:
    made = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True)
    with pytest.raises(ValueError, match="no RSA key"):
        read_key(made.stdout, "sha1")
