"""The two ways to prove a host: its challenge announced to the routers, or a TXT record.  One edge."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from fastroute.certs.challenge.announcer import ChallengeAnnouncer
from fastroute.certs.challenge.dns_hook import DnsHook
from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.challenge.self_check import SelfCheck

log = logging.getLogger("fastroute.certs")


class HttpSolver:
    """By HTTP: every router sends the challenge's path to us, and a check shows that the host comes to a router.

    ``announcer`` None: nginx sends it without a router (nginx mode).
    """

    kind = "http-01"

    def __init__(
        self, announcer: ChallengeAnnouncer | None, responder: ChallengeResponder, self_check: SelfCheck
    ) -> None:
        self._announcer, self._responder, self._self_check = announcer, responder, self_check

    @contextlib.contextmanager
    def prepared(self, host: str) -> Iterator[None]:
        """Announced, acked by all routers that answer, and checked."""
        with self._announcer.announced(host) if self._announcer else contextlib.nullcontext("") as remark:
            if remark:
                log.warning("%s: %s; the others hold its challenge", host, remark)
            self._self_check.check(host)
            yield

    @contextlib.contextmanager
    def answering(self, host: str, token: str, answer: str) -> Iterator[None]:
        """Answer the CA."""
        with self._responder.answering(token, answer):
            yield


class DnsSolver:
    """By a TXT record that the user's command sets."""

    kind = "dns-01"

    def __init__(self, hook: DnsHook) -> None:
        self._hook = hook

    @contextlib.contextmanager
    def prepared(self, host: str) -> Iterator[None]:
        """Nothing can be known before."""
        yield

    @contextlib.contextmanager
    def answering(self, host: str, token: str, answer: str) -> Iterator[None]:
        """Have the record there."""
        with self._hook.record(f"_acme-challenge.{host.removeprefix('*.')}", answer):
            yield
