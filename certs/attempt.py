"""One attempt for one host on a thread of its own: from the account to the new pair on disk.  One edge.

It ends with a value that says what happened; the loop decides what follows from that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastroute.certs.ca.failures import CaLimit, CaRefusal, CaTrouble, NoAccount
from fastroute.certs.ca.order import Order, Solver, Stopping
from fastroute.certs.ca.session import CaSession, translated
from fastroute.certs.challenge.announcer import NotAnnounced
from fastroute.certs.challenge.dns_hook import HookFailed
from fastroute.certs.challenge.self_check import NotHere
from fastroute.certs.decide.outcomes import CaFailed, Failed, Issued, Limited, Outcome, RenewalInfo, Stopped
from fastroute.certs.decide.schedule import Certificate
from fastroute.certs.store.pairs import PairStore, StoreError
from fastroute.certs.store.x509 import Pair, new_key

#: Seconds until the CA is asked again when to renew, if it says nothing else (RFC 9773, 4.3.3).
INFO_INTERVAL = 6 * 3600.0

log = logging.getLogger("fastroute.certs")


@dataclass(frozen=True, slots=True)
class CertificateAttempts:
    """Makes attempts at one CA.  ``began(host, url)`` keeps an order's URL before anything else is done with it."""

    session: CaSession
    store: PairStore
    solver_for: Callable[[str], Solver]
    began: Callable[[str, str], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def order(self, host: str, url: str) -> Outcome:
        """Get a certificate; ``url``: of an order that was begun before, or empty."""
        try:
            return Issued(host, self._obtain(host, url))
        except Stopping:
            return Stopped(host)
        except (NotHere, NotAnnounced) as error:
            return Failed(host, str(error), asked=False, order_over=False)
        except HookFailed as error:
            return Failed(host, str(error), order_over=False)
        except StoreError as error:
            # A disk that is full takes the CA's certificate later; one that can't be served is never fetched again.
            return Failed(host, str(error), order_over=not error.disk)
        except (CaRefusal, CaLimit, CaTrouble, NoAccount) as error:
            return _outcome(host, error)

    def renewal_info(self, host: str) -> Outcome:
        """Ask the CA when it wants the certificate renewed."""
        try:
            client = self.session.client(host)
            with translated(host, client.net):
                when, _ = client.renewal_time(self.store.chain(host))
                wait = getattr(client.net, "retry_after", 0.0)
            return RenewalInfo(
                host, when.timestamp() if when is not None else None, time.time() + (wait or INFO_INTERVAL)
            )
        except (CaRefusal, CaLimit, CaTrouble, NoAccount) as error:
            # Without the CA's word the certificate's life decides.
            log.debug("%s: when to renew: %s", host, error)
            return RenewalInfo(host, None, time.time() + INFO_INTERVAL, known=False)

    def _obtain(self, host: str, url: str) -> Certificate:
        key = self.store.key(host) or new_key()
        for last in (False, True):
            client = self.session.client(host)
            order = Order(
                client, host, key, self.solver_for(host), lambda new: self.began(host, new), self.stop,
                self.store.chain(host),
            )  # fmt: skip
            try:
                chain = order.obtain(url)
                break
            except NoAccount:
                if last:
                    raise
                log.warning("the CA does not know our account any more: a new one is made")
                self.session.forget_account()
                url = ""
        try:
            return self.store.install(host, Pair(chain, key))
        except StoreError as error:
            raise StoreError(f"the CA's certificate is not served: {error}", disk=error.disk) from None


def _outcome(host: str, error: Exception) -> Outcome:
    match error:
        case CaLimit():
            return Limited(host, str(error), error.retry_after, error.domain)
        case CaRefusal():
            return Failed(host, str(error), error.retry_after)
        case CaTrouble():
            return CaFailed(host, str(error), error.retry_after)
    return CaFailed(host, str(error))
