"""One certificate from the CA: order, authorisation, finalisation, download.  One edge; each step is bounded in time.

An order that an earlier life began is gone on with: its URL was kept, and the key is that of the pair which is served.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import requests
from acme import challenges, errors, messages
from acme.client import ClientV2
from cryptography import x509
from josepy.json_util import field
from josepy.jwk import JWK

from fastroute.certs.ca.failures import CaProblem, CaRefusal, CaTrouble, failure_of
from fastroute.certs.ca.session import links_of, translated
from fastroute.certs.ca.transport import CaNetwork
from fastroute.certs.store.x509 import certificate_id, make_request

#: Seconds for the CA to look at our challenge, and to sign.
AUTHORISATION_TIMEOUT, FINALISATION_TIMEOUT = 180.0, 180.0
#: Seconds between questions how far the CA is; it may ask for more by ``Retry-After``.
MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = 0.5, 5.0
#: Authorisations of an order for one name.
_MAX_AUTHORISATIONS = 4
_GONE = (404, 410)
#: How a CA refuses what an order is said to replace (RFC 9773, 5): it is none of its own, or was replaced already.
_NOT_REPLACEABLE = ("alreadyReplaced", "conflict", "malformed", "unauthorized")
log = logging.getLogger("fastroute.certs")
_ENDED = ("valid", "invalid", "deactivated", "expired", "revoked")


class Stopping(Exception):
    """The program ends."""


class NewOrder(messages.NewOrder):
    """With what RFC 9773 adds, which the library has not yet."""

    replaces: str = field("replaces", omitempty=True)


class Solver(Protocol):
    """Proves to the CA that a host is ours."""

    #: The type of its challenge in ACME.
    kind: str

    def prepared(self, host: str) -> AbstractContextManager[None]:
        """Everything that must be so before the CA is asked, and stay so while it looks."""

    def answering(self, host: str, token: str, answer: str) -> AbstractContextManager[None]:
        """Show the answer to one challenge meanwhile."""


class Order:
    """One attempt for ``host``, whose certificate is for the private ``key`` (PEM).

    ``began`` is called with the order's URL as soon as there is one, and must keep it; ``stop`` ends the attempt.
    ``served`` is the chain that the new one replaces (PEM; empty: none): CAs limit renewals less than new orders.
    """

    def __init__(
        self, client: ClientV2, host: str, key: bytes, solver: Solver, began: Callable[[str], None],
        stop: threading.Event, served: bytes = b"",
    ) -> None:  # fmt: skip
        self._client, self._host, self._key = client, host, key
        self._replaces = certificate_id(served) if "renewalInfo" in client.directory.to_partial_json() else ""
        self._solver, self._began, self._stop = solver, began, stop

    def obtain(self, url: str) -> bytes:
        """The certificate and its chain in PEM; ``url``: of the order of an earlier life, or empty."""
        order = self._resume(url) if url else None
        if order is None or order.body.status == messages.STATUS_PENDING:
            with self._solver.prepared(self._host):
                if self._stop.is_set():
                    raise Stopping
                order = order or self._begin()
                for link in links_of(order.body.authorizations)[:_MAX_AUTHORISATIONS]:
                    self._authorise(link)
        return self._finalise(order.uri)

    # Steps

    def _resume(self, url: str) -> messages.OrderResource | None:
        """The order at ``url``; None: it is of no use any more."""
        try:
            order = self._order(self._read(url), url)
        except CaRefusal:
            return None
        except CaTrouble:
            if self._network.status in _GONE:
                return None
            raise
        names = [str(identifier.value) for identifier in order.body.identifiers or ()]
        return None if order.body.status == messages.STATUS_INVALID or names != [self._host] else order

    def _begin(self) -> messages.OrderResource:
        with self._translated():
            self._network.refuse_if_held()
            response = self._new_order()
            url = response.headers.get("Location")
            if not isinstance(url, str) or not url:
                raise CaTrouble("the CA does not say where our new order is")
        order = self._order(response, url)
        self._began(url)
        return order

    def _new_order(self) -> requests.Response:
        url = self._client.directory["newOrder"]
        identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=self._host)]
        if self._replaces:
            try:
                return self._post(url, NewOrder(identifiers=identifiers, profile="", replaces=self._replaces))
            except errors.ConflictError:
                log.info("%s: the CA has replaced its certificate already: it is ordered anew", self._host)
            except messages.Error as error:
                if _problem(error).code not in _NOT_REPLACEABLE:
                    raise
                log.info("%s: the CA does not replace its certificate (%s): it is ordered anew", self._host, error)
        return self._post(url, NewOrder(identifiers=identifiers, profile=""))

    def _authorise(self, url: str) -> None:
        with self._translated():
            authorisation = messages.Authorization.from_json(self._read(url).json())
            status = str(authorisation.status.name)
            if status == "valid":
                return
            body = self._challenge(authorisation)
            key = self._client.net.key
            assert isinstance(key, JWK)
            token = body.chall.encode("token")
            answer = self._solver_answer(body.chall, key)
        with self._solver.answering(self._host, token, answer):
            with self._translated():
                if status == "pending" and str(body.status.name) == "pending":
                    self._post(body.uri, body.chall.response(key))
                authorisation = self._poll(
                    url, messages.Authorization, AUTHORISATION_TIMEOUT, "looked at our challenge"
                )
            if str(authorisation.status.name) != "valid":
                raise self._refused(authorisation)

    def _challenge(self, authorisation: messages.Authorization) -> messages.ChallengeBody:
        for body in authorisation.challenges or ():
            if body.chall.typ == self._solver.kind and isinstance(body.chall, challenges.KeyAuthorizationChallenge):
                return body
        offered = ", ".join(str(body.chall.typ) for body in authorisation.challenges or ())
        raise CaRefusal(f"the CA offers no challenge of the kind {self._solver.kind}, only {offered or 'none'}")

    def _solver_answer(self, challenge: Any, key: JWK) -> str:
        return str(challenge.validation(key))

    def _refused(self, authorisation: messages.Authorization) -> Exception:
        for body in authorisation.challenges or ():
            if isinstance(body.error, messages.Error):
                return failure_of(_problem(body.error), self._host, 0.0)
        return CaRefusal(f"the CA's authorisation is {authorisation.status.name}, without a reason")

    def _finalise(self, url: str) -> bytes:
        with self._translated():
            order = self._poll(url, messages.Order, FINALISATION_TIMEOUT, "made the order ready", until=("ready",))
            if str(order.status.name) == "ready":
                request = x509.load_pem_x509_csr(make_request(self._host, self._key))
                self._post(order.finalize, messages.CertificateRequest(csr=request))
                order = self._poll(url, messages.Order, FINALISATION_TIMEOUT, "signed")
            if str(order.status.name) != "valid" or not order.certificate:
                if isinstance(order.error, messages.Error):
                    raise failure_of(_problem(order.error), self._host, 0.0)
                raise CaRefusal(f"the CA's order is {order.status.name}, without a reason")
            return self._read(order.certificate).content

    # Requests

    def _poll(self, url: str, kind: Any, timeout: float, step: str, until: tuple[str, ...] = ()) -> Any:
        deadline, interval = time.monotonic() + timeout, MIN_POLL_INTERVAL
        while True:
            body = kind.from_json(self._read(url).json())
            if str(body.status.name) in (*_ENDED, *until):
                return body
            wait = min(max(interval, self._network.retry_after), 30.0)
            if time.monotonic() + wait > deadline:
                raise CaTrouble(f"the CA has not {step} within {timeout:g} s")
            if self._stop.wait(wait):
                raise Stopping
            interval = min(interval * 1.5, MAX_POLL_INTERVAL)

    @property
    def _network(self) -> CaNetwork:
        network = self._client.net
        assert isinstance(network, CaNetwork)
        return network

    def _post(self, url: str, body: Any) -> requests.Response:
        return self._client.net.post(url, body, new_nonce_url=self._client.directory["newNonce"])

    def _read(self, url: str) -> requests.Response:
        with self._translated():
            return self._post(url, None)

    def _order(self, response: requests.Response, url: str) -> messages.OrderResource:
        with self._translated():
            body = messages.Order.from_json(response.json())
            if not isinstance(body.status, messages.Status):
                raise CaTrouble("the CA's order has no status")
            return messages.OrderResource(body=body, uri=url, authorizations=[])

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self._host, self._client.net):
            yield


def _problem(error: messages.Error) -> CaProblem:
    return CaProblem(str(error.typ).rpartition(":")[2], str(error.detail or error.title or ""))
