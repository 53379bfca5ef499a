"""Proves a pair by a TLS handshake in memory: what nginx would serve is what a client accepts for the host.

The client trusts the certificate that signed the leaf (whose root may be a private CA's), and checks by OpenSSL what a
browser would: the signature, the name, the time.  One edge: OpenSSL reads the files as nginx will.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from fastroute.certs.store.x509 import CertificateError, read_chain

#: Turns of two sides in memory: a handshake needs two or three.
_MAX_TURNS = 10


class ProofError(Exception):
    """The pair would not serve; the message says why."""


def prove(folder: Path, host: str) -> None:
    """Have a client accept the pair in ``folder`` for ``host``; else :class:`ProofError`."""
    try:
        chain = read_chain((folder / "fullchain.pem").read_bytes())
        anchor = chain[1] if len(chain) > 1 else chain[0]
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.maximum_version = client.minimum_version = version
            client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
            client.load_verify_locations(cadata=anchor.public_bytes(Encoding.PEM).decode())
            _handshake(server, client, host.replace("*", "probe", 1))
    except ssl.SSLCertVerificationError as error:
        raise ProofError(f"a client would refuse it: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ProofError(f"it can't be served: {error.reason or 'TLS handshake failed'}") from None
    except CertificateError as error:
        raise ProofError(str(error)) from None
    except OSError as error:
        raise ProofError(f"it can't be read: {error.strerror}") from None


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    except ValueError as error:
        raise ProofError(f"no TLS client can ask for that name: {error}") from None
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    pending = [client, server]
    for _ in range(_MAX_TURNS):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not pending:
            return
    raise ProofError("a TLS handshake with it does not end")
