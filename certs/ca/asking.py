"""What asks the CA, put together: account, connection, and how a host is proven.  Imported only where a CA is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from fastroute.certs.attempt import CertificateAttempts
from fastroute.certs.ca.order import Solver
from fastroute.certs.ca.session import CaSession, Registration
from fastroute.certs.ca.transport import CaTransport
from fastroute.certs.challenge.announcer import ChallengeAnnouncer
from fastroute.certs.challenge.dns_hook import DnsHook
from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.challenge.self_check import SelfCheck
from fastroute.certs.challenge.solvers import DnsSolver, HttpSolver
from fastroute.certs.options import read_hmac
from fastroute.certs.settings import CertsSettings
from fastroute.certs.store.pairs import PairStore
from fastroute.certs.store.state_file import StateDirectory
from fastroute.router.runtime.secret_file import read_secret_file

log = logging.getLogger("fastroute.certs")


def attempts_of(
    settings: CertsSettings,
    began: Callable[[str, str], None],
    store: PairStore,
    state: StateDirectory,
    responder: ChallengeResponder,
    stack: ExitStack,
) -> CertificateAttempts:
    """Attempts at the CA of ``settings``; ``began`` is told of each order, ``stack`` closes what has to be closed."""
    announcer = None
    if settings.router:
        secret = read_secret_file(settings.subscription_secret_file, log) or b""
        announcer = ChallengeAnnouncer(settings.router, secret, settings.challenge)
        announcer.start()
        stack.callback(announcer.close)
    transport = CaTransport(settings.directory, settings.ca_file)
    stack.callback(transport.close)
    hmac = read_hmac(settings.eab_hmac_file) if settings.eab_hmac_file else None
    registration = Registration(settings.directory, settings.email, settings.eab_kid, hmac)
    by_http = HttpSolver(announcer, responder, SelfCheck(responder, settings.self_check_address))
    by_dns = DnsSolver(DnsHook(settings.dns_hook)) if settings.dns_hook else None

    def solver_for(host: str) -> Solver:
        return by_dns if by_dns is not None and host.startswith("*.") else by_http

    return CertificateAttempts(CaSession(registration, transport, state), store, solver_for, began)
