"""Our account at the CA, and its directory: what all orders share.  One edge; any thread may use it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from acme import errors, messages
from acme.client import ClientV2
from cryptography.hazmat.primitives import serialization
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from fastroute.certs.ca.failures import CaLimit, CaProblem, CaRefusal, CaTrouble, NoAccount, failure_of
from fastroute.certs.ca.transport import CaNetwork, CaTransport
from fastroute.certs.store.pairs import StoreError
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.store.x509 import CertificateError, new_key, read_key

#: Seconds for which the CA's directory is remembered.
DIRECTORY_MAX_AGE = 3_600.0
#: Seconds between attempts to change the contact of our account.
EMAIL_INTERVAL = 3_600.0
log = logging.getLogger("fastroute.certs")
_NEEDED = ("newNonce", "newAccount", "newOrder")


@dataclass(frozen=True, slots=True)
class Registration:
    """What a new account is made with."""

    directory: str
    email: str | None = None
    eab_kid: str | None = None
    #: In base64url.
    eab_hmac: str | None = None

    def __repr__(self) -> str:
        return f"Registration({self.directory})"


class CaSession:
    """The CA of ``registration``; the account is kept in ``state``."""

    def __init__(self, registration: Registration, transport: CaTransport, state: StateDirectory) -> None:
        self._registration, self._transport, self._state = registration, transport, state
        self._lock = threading.Lock()
        self._directory: messages.Directory | None = None
        self._read_at = 0.0
        #: The account's key, and its URL at the CA.
        self._key: JWKEC | None = None
        self._uri = ""
        #: The contact that the CA has of us, as far as we know; what it is to be could not be said lately.
        self._email = ""
        self._email_tried_at = -EMAIL_INTERVAL
        #: Why the last client could not be made, and when that was.
        self._failure: Exception | None = None
        self._failed_at = 0.0

    def client(self, host: str) -> ClientV2:
        """A client with our account for one attempt for ``host``; the account is made when there is none."""
        began = time.monotonic()
        with self._lock:
            if self._failure is not None and self._failed_at >= began:
                # The one before us has asked while we waited for it.
                raise self._failure
            try:
                if self._key is None:
                    self._load()
                if not self._uri:
                    self._register()
                assert self._key is not None
                client = self._client(host, self._key, self._uri)
                self._tell_email(client)
                return client
            except (CaTrouble, CaRefusal, CaLimit, NoAccount) as error:
                self._failure, self._failed_at = _about_the_ca(error), time.monotonic()
                raise self._failure from None

    def forget_account(self) -> None:
        """The CA does not know it: the next client makes one anew, with the same key."""
        with self._lock:
            self._uri = ""

    def _client(self, host: str, key: JWKEC, uri: str) -> ClientV2:
        account = messages.RegistrationResource(body=messages.Registration(), uri=uri) if uri else None
        network = CaNetwork(self._transport, host, key=key, account=account, alg=ES256)
        if self._directory is None or time.monotonic() - self._read_at > DIRECTORY_MAX_AGE:
            with translated(host, network):
                directory = ClientV2.get_directory(self._registration.directory, network)
                if any(not isinstance(directory[name], str) for name in _NEEDED):
                    raise CaTrouble("the CA's directory is none: its addresses are no text")
            self._directory, self._read_at = directory, time.monotonic()
        return ClientV2(self._directory, network)

    def _load(self) -> None:
        saved = self._state.load_account(self._registration.directory)
        try:
            key = read_key(saved.get("key", "").encode())
        except CertificateError:
            pem = new_key()
            self._save({"key": pem.decode()})
            key, saved = read_key(pem), {}
        self._key, self._uri = JWKEC(key=key), saved.get("uri", "")
        self._email = saved.get("email", "")

    def _register(self) -> None:
        assert self._key is not None
        client = self._client("", self._key, "")
        self._transport.refuse_if_held()
        wanted = self._registration
        with translated("", client.net):
            details: dict[str, Any] = {"terms_of_service_agreed": True}
            if wanted.email:
                details["email"] = wanted.email
            if wanted.eab_kid and wanted.eab_hmac:
                details["external_account_binding"] = messages.ExternalAccountBinding.from_data(
                    self._key.public_key(), wanted.eab_kid, wanted.eab_hmac, client.directory
                )
            elif client.external_account_required():
                raise CaTrouble("the CA wants an external account binding: --eab-kid and --eab-hmac-file are missing")
            try:
                uri = client.new_account(messages.NewRegistration.from_data(**details)).uri
            except errors.ConflictError as error:
                uri = error.location
            if not isinstance(uri, str) or not uri:
                raise CaTrouble("the CA does not say where our new account is")
        self._keep(self._key, uri, wanted.email or "")

    def _tell_email(self, client: ClientV2) -> None:
        """Change the contact of our account, if another one is wanted.  A CA that refuses it signs all the same."""
        wanted, now = self._registration.email, time.monotonic()
        if not wanted or wanted == self._email or now - self._email_tried_at < EMAIL_INTERVAL:
            return
        self._email_tried_at = now
        assert self._key is not None
        try:
            with translated("", client.net):
                change = messages.UpdateRegistration.from_data(email=wanted)
                client.net.post(self._uri, change, new_nonce_url=client.directory["newNonce"])
        except CaRefusal as error:
            log.warning("--email: the contact of our account stays as it was: %s", error)
            return
        self._keep(self._key, self._uri, wanted)
        log.info("the contact of our account at the CA is the one of --email now")

    def _keep(self, key: JWKEC, uri: str, email: str) -> None:
        pem = key.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._save({"key": pem.decode(), "uri": uri, "email": email})
        self._uri, self._email = uri, email

    def _save(self, account: dict[str, str]) -> None:
        try:
            self._state.save_account(self._registration.directory, account)
        except OSError as error:
            raise StoreError(f"our account can't be kept: {error.strerror}", disk=True) from None


@contextlib.contextmanager
def translated(host: str, network: object) -> Iterator[None]:
    """Turn whatever the library raises, and whatever a CA's garbage makes of it, into our exceptions."""
    try:
        yield
    except (CaTrouble, CaRefusal, CaLimit, NoAccount):
        raise
    except messages.Error as error:
        problem = CaProblem(_code(error), _text(error))
        failure = failure_of(problem, host, getattr(network, "retry_after", 0.0))
        if isinstance(failure, CaLimit) and not failure.domain and isinstance(network, CaNetwork):
            network.hold()
        raise failure from None
    except errors.MissingNonce:
        raise CaTrouble("the CA's answer has no nonce") from None
    except (errors.ClientError, errors.NonceError):
        raise CaTrouble("the CA answers with an error that is no ACME problem") from None
    except Exception as error:
        # The library reads what the CA sends without checking the kinds of values.
        raise CaTrouble(f"the CA's answer can't be understood ({type(error).__name__})") from None


def _about_the_ca(error: Exception) -> Exception:
    """An error with our account or the directory, which is about no host."""
    return error if isinstance(error, CaLimit | CaTrouble) else CaTrouble(f"no account: {error}")


def _code(error: messages.Error) -> str:
    return str(error.typ).rpartition(":")[2] if isinstance(error.typ, str) else ""


def _text(error: messages.Error) -> str:
    texts = [str(part.detail or part.title or "") for part in (error, *(error.subproblems or ()))]
    return "; ".join(dict.fromkeys(text for text in texts if text))


def links_of(value: object) -> list[str]:
    """The addresses in a CA's list."""
    return [str(link) for link in cast(list[object], value)] if isinstance(value, list | tuple) else []
