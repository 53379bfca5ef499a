"""Certificates for tests: a CA of their own, and folders of pairs as fastroute-certs writes them."""

from __future__ import annotations

import datetime
import os
import secrets
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFE = datetime.timedelta(days=30)


class CertificateAuthority:
    """Signs what it is asked for; ``file`` is its own certificate, for clients."""

    def __init__(self, file: Path) -> None:
        self.file, self._key = file, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        own = self._builder(self._name, self._key).add_extension(usage, critical=True)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self) -> ssl.SSLContext:
        """What a client believes that knows this CA alone."""
        return ssl.create_default_context(cafile=str(self.file))

    def pair(self, *names: str, key: ec.EllipticCurvePrivateKey | None = None) -> tuple[bytes, bytes]:
        """A certificate for ``names`` and its key, as PEM."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        certificate = self._builder(subject, own).add_extension(alternatives, critical=False)
        encoded = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), encoded

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - _LIFE)
            .not_valid_after(now + _LIFE)
            # Newer Pythons insist on these (VERIFY_X509_STRICT).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


class CertificateFolder:
    """``--certificates`` of fastroute-certs at ``path``."""

    def __init__(self, path: Path, authority: CertificateAuthority) -> None:
        self.path, self.authority = path, authority
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        path.mkdir(mode=0o755)
        path.chmod(0o755)

    def put(self, host: str, *, new_key: bool = False) -> None:
        """A new certificate for ``host`` (or ``*.domain``), swapped in as one; its key stays unless ``new_key``."""
        folder = f"_wildcard.{host[2:]}" if host.startswith("*.") else host
        if new_key or host not in self._keys:
            self._keys[host] = ec.generate_private_key(ec.SECP256R1())
        certificate, key = self.authority.pair(host, key=self._keys[host])
        pair = self.path / ".pairs" / f"{folder}.{secrets.token_hex(4)}"
        pair.mkdir(parents=True)
        (pair / "fullchain.pem").write_bytes(certificate)
        (pair / "privkey.pem").write_bytes(key)
        fresh = self.path / f".{folder}.new"
        fresh.symlink_to(pair.relative_to(self.path))
        os.rename(fresh, self.path / folder)

    def remove(self, folder: str) -> None:
        """The host has no certificate any more."""
        (self.path / folder).unlink()

    def mark(self, kind: str, folder: str, *, there: bool = True) -> None:
        """``kind``: ``redirect``, or ``hsts-SECONDS``."""
        file = self.path / f".{kind}" / folder
        file.parent.mkdir(exist_ok=True)
        if there:
            file.touch()
        else:
            file.unlink()
