"""Makes and reads keys, requests and certificates.  No file is touched here."""

from __future__ import annotations

import base64
import datetime
import itertools
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fastroute.certs.decide.schedule import Certificate

#: Seconds of a self-signed certificate's life, and by which it begins before now: clients' clocks differ.
SELF_SIGNED_LIFE, CLOCK_SKEW = 90 * 86_400, 3_600
ORGANISATION = "fastroute self-signed"
#: Characters of a common name (RFC 5280, ub-common-name).
_MAX_COMMON_NAME = 64
#: Certificates in a chain, at most.
MAX_CHAIN = 10


class CertificateError(ValueError):
    """These bytes are no certificate, or no key, that we can use; the message never shows them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its private key, in PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(...)"


def new_key() -> bytes:
    """A private key on P-256, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_request(host: str, key: bytes) -> bytes:
    """A certificate request for ``host`` in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return builder.sign(read_key(key), hashes.SHA256()).public_bytes(Encoding.PEM)


def certificate_id(chain: bytes) -> str:
    """The name of the first certificate in ``chain`` for the CA that signed it (RFC 9773, 4.1); empty: it has none."""
    try:
        certificate = x509.load_pem_x509_certificate(chain)
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (ValueError, x509.ExtensionNotFound):
        return ""
    serial = certificate.serial_number
    parts = (authority or b"", serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) if authority else ""


def self_signed(host: str, now: float, key: bytes | None = None) -> Pair:
    """A self-signed pair for ``host``; with ``key``, if it is given."""
    pem = new_key() if key is None else key
    private = read_key(pem)
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION)]
    if len(host) <= _MAX_COMMON_NAME:
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, host))
    subject = x509.Name(names)
    begin = datetime.datetime.fromtimestamp(int(now) - CLOCK_SKEW, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(seconds=SELF_SIGNED_LIFE))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(Encoding.PEM), pem)


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key in ``pem``; :class:`CertificateError` when it is none of ours."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("a private key on an elliptic curve expected")
    return key


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """The certificates in ``pem``, the leaf first; each is signed by the next one."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("no certificates in PEM") from None
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise CertificateError(f"a chain of {len(chain)} certificates; 1 to {MAX_CHAIN} expected")
    for certificate, issuer in itertools.pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise CertificateError("the chain is broken: a certificate is not signed by the next one") from None
    return chain


def describe(chain: list[x509.Certificate], *, foreign: bool = False) -> Certificate:
    """What decisions need to know of the first certificate in ``chain``."""
    leaf = chain[0]
    try:
        issuer = _name_of(leaf.issuer)
        issued_by_itself = leaf.issuer == leaf.subject
    except ValueError:
        raise CertificateError("the certificate's issuer can't be read") from None
    return Certificate(
        leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp(), issuer,
        f"{leaf.serial_number:x}", self_signed=issued_by_itself, foreign=foreign,
    )  # fmt: skip


def check_pair(pair: Pair, *, foreign: bool = False) -> Certificate:
    """What decisions need to know of ``pair``; :class:`CertificateError` unless its key is the certificate's."""
    chain = read_chain(pair.chain)
    try:
        key = serialization.load_pem_private_key(pair.key, password=None)
        ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        theirs = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("no private key in PEM, or none that is understood here") from None
    if ours != theirs:
        raise CertificateError("the private key is not that of the certificate")
    return describe(chain, foreign=foreign)


def _name_of(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            value = attribute.value
            return value if isinstance(value, str) else value.decode("latin-1")
    return name.rfc4514_string() or "unnamed"
