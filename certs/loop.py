"""The loop of ``fastroute-certs``: takes in what happened, asks :mod:`.decide` what is due, and has it done.

One thread decides.  Attempts run on threads of their own and end with a value in the queue; the records are on disk
before an attempt begins, and with its order's URL before it goes on.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fastroute.certs.attempt import (
    CaFailed,
    CertificateAttempts,
    Failed,
    Issued,
    Limited,
    Outcome,
    RenewalInfo,
    Stopped,
)
from fastroute.certs.decide import schedule
from fastroute.certs.decide.hosts import MAX_HOSTS, refuse_to_ask
from fastroute.certs.decide.records import CaRecord, HostRecord
from fastroute.certs.decide.schedule import Certificate, Due
from fastroute.certs.events import CertsEvents
from fastroute.certs.settings import CertsSettings
from fastroute.certs.sources import StatusSource
from fastroute.certs.store.pairs import PairStore, StoreError
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.store.x509 import self_signed
from fastroute.certs.views import HostView, host_view, iso

#: Attempts at once.
MAX_ATTEMPTS = 16
#: Seconds of the longest sleep, also after a clock was set; of waiting for attempts at the end.
MAX_SLEEP, STOP_TIMEOUT = 20.0, 5.0
#: Self-signed pairs of one turn: their hosts can be many at once, and the loop has more to do.
MAX_SELF_SIGNED = 100
#: Seconds between two notes of the time at which a host was wanted, and between looks what can be removed.
WANTED_INTERVAL, REMOVAL_INTERVAL = 3_600.0, 600.0
#: Seconds that an attempt waits until the URL of its order is on disk.
KEEP_TIMEOUT = 10.0

log = logging.getLogger("fastroute.certs")


@dataclass(slots=True)
class _Began:
    """An attempt has an order at the CA."""

    host: str
    url: str
    kept: threading.Event = field(default_factory=threading.Event)


class CertsLoop:
    """Keeps a certificate for every host that ``sources`` want; ``attempts`` None: no CA is asked."""

    def __init__(
        self, settings: CertsSettings, store: PairStore, state: StateDirectory, events: CertsEvents,
    ) -> None:  # fmt: skip
        self._settings, self._store, self._state, self._events = settings, store, state, events
        self._queue: queue.SimpleQueue[Outcome | _Began | None] = queue.SimpleQueue()
        self.attempts: CertificateAttempts | None = None
        self.sources: Sequence[StatusSource] = ()
        self._draw = random.uniform
        self._records: dict[str, HostRecord] = {}
        self._certificates: dict[str, Certificate] = {}
        self._ca = CaRecord(directory=settings.directory)
        self._wanted: frozenset[str] = frozenset()
        self._busy: set[str] = set()
        #: CertificateAttempts by how they ended.
        self.ended: Counter[str] = Counter()
        #: Every host that is wanted has had its pair at least once since the sources answered.
        self.ready = threading.Event()
        self._stopping = threading.Event()
        self._changed = False
        self._last_now = 0.0
        self._next_removal = 0.0
        self._save_problem = ""

    # From any thread

    def post(self, message: Outcome | _Began | None = None) -> None:
        """Tell the loop what happened; nothing: look again."""
        self._queue.put(message)

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._stopping.set()
        if self.attempts is not None:
            self.attempts.stop.set()
        self.post()

    def began(self, host: str, url: str) -> None:
        """An attempt has an order at ``url``; back when that is on disk."""
        message = _Began(host, url)
        self.post(message)
        message.kept.wait(KEEP_TIMEOUT)

    def views(self) -> list[HostView]:
        """Every host that is wanted, or has a certificate."""
        now, records, ca = time.time(), dict(self._records), self._ca
        wanted, busy = self._wanted, set(self._busy)
        return [
            self._view(record, ca, record.host in busy, now)
            for record in records.values()
            if record.host in self._certificates or (record.host in wanted and record.reason)
        ]

    @property
    def ca(self) -> CaRecord:
        """What is remembered of the CA."""
        return self._ca

    def _view(self, record: HostRecord, ca: CaRecord, busy: bool, now: float) -> HostView:
        certificate = self._certificates.get(record.host)
        held = schedule.held_until(record.host, ca)
        due = max(schedule.order_time(record, certificate, ca.directory), held)
        reason = f"{ca.reason or 'the CA limits us'}; on hold until {iso(held)}" if held > now else ""
        return host_view(
            record, certificate, busy=busy, refusal=self._refusal(record, now), held=reason, due=due, now=now
        )

    # The loop

    def run(self) -> None:
        """Decide until :meth:`stop`."""
        self._load()
        while not self._stopping.is_set():
            self._turn()
        self._finish()

    def _turn(self, longest: float = MAX_SLEEP) -> None:
        messages = self._messages(longest)
        now = self._now()
        began = [message for message in messages if isinstance(message, _Began)]
        for message in messages:
            if isinstance(message, _Began):
                self._update(replace(self._records[message.host], order=message.url))
            elif message is not None:
                self._take(message, now)
        more = self._follow_wanted(now)
        due = self._plan(now)
        if self._save():
            self._start(due)
        for message in began:
            message.kept.set()
        if more:
            self.post()
        elif any(source.hosts is not None for source in self.sources):
            self.ready.set()

    def _messages(self, longest: float) -> list[Outcome | _Began | None]:
        """What is there; waits until something is, or something is due."""
        wait = min(max(self._next_time - self._last_now, 0.05), longest) if self._last_now else 0.0
        messages: list[Outcome | _Began | None] = []
        with suppress(queue.Empty):
            messages.append(self._queue.get(timeout=wait))
            while True:
                messages.append(self._queue.get_nowait())
        return messages

    _next_time = 0.0

    def _now(self) -> float:
        now = time.time()
        if now < self._last_now - 1:
            log.warning(
                "the clock was set back by %.0f s: what lay ahead of it is counted from now", self._last_now - now
            )
            for record in list(self._records.values()):
                self._update(schedule.rebased(record, now))
            self._ca, self._next_removal = schedule.rebased_ca(self._ca, now), 0.0
        self._last_now = now
        return now

    def _update(self, record: HostRecord) -> None:
        if self._records.get(record.host) != record:
            self._records[record.host] = record
            self._changed = True

    # What was there before

    def _load(self) -> None:
        now = time.time()
        self._certificates, problems = self._store.scan()
        for host, problem in problems.items():
            self._events.write("warning", f"its pair on disk can't be served and is replaced: {problem}", host)
        records, ca, problem = self._state.load()
        if problem:
            self._events.write("warning", problem)
        directory = self._settings.directory
        self._ca = schedule.rebased_ca(ca, now) if ca.directory == directory else CaRecord(directory=directory)
        for record in records.values():
            if ca.directory != directory:
                # Another CA knows nothing of the order, and did not refuse the host.
                record = replace(record, order="", asking=False, failures=0, next_attempt=0.0, reason="")
            self._update(schedule.recovered(schedule.rebased(record, now), now, self._draw))
        for host, certificate in self._certificates.items():
            if host not in self._records:
                # Nothing is remembered of it: as if this CA had signed it just now, so that it is not asked for again.
                own = "" if certificate.self_signed else directory
                self._update(HostRecord(host, wanted_at=now, directory=own))

    # What happened

    def _take(self, outcome: Outcome, now: float) -> None:
        host = outcome.host
        self._busy.discard(host)
        record = self._records.get(host) or HostRecord(host)
        kind = type(outcome).__name__.lower()
        match outcome:
            case Issued():
                record = schedule.issued(
                    record, outcome.certificate, self._certificates.get(host), self._ca.directory, now
                )
                self._certificates[host] = outcome.certificate
                self._ca = schedule.ca_answered(self._ca, now)
                until = iso(outcome.certificate.not_after)
                self._events.write("issued", f"certificate of {outcome.certificate.issuer}, valid until {until}", host)
            case Failed():
                record = schedule.failed(
                    record, outcome.reason, now, self._draw, retry_after=outcome.retry_after, asked=outcome.asked
                )
                if outcome.order_over:
                    record = replace(record, order="")
                if outcome.asked:
                    self._ca = schedule.ca_answered(self._ca, now)
                self._events.write("failed", f"{outcome.reason}; next attempt at {iso(record.next_attempt)}", host)
            case CaFailed():
                first = self._ca.held_until <= now
                self._ca = schedule.ca_failed(
                    self._ca, outcome.reason, now, self._draw, retry_after=outcome.retry_after
                )
                record = schedule.put_off(record, outcome.reason)
                if first:
                    self._events.write("held", f"{outcome.reason}; nothing is asked before {iso(self._ca.held_until)}")
            case Limited():
                self._ca = schedule.limited(
                    self._ca, outcome.reason, now, retry_after=outcome.retry_after, domain=outcome.domain
                )
                record = schedule.put_off(record, outcome.reason)
                until = iso(schedule.held_until(host, self._ca))
                what = f"under {outcome.domain} " if outcome.domain else ""
                self._events.write("held", f"{outcome.reason}; nothing {what}is asked before {until}", host)
            case Stopped():
                record = schedule.stopped(record)
            case RenewalInfo():
                record = self._renewal_info(record, outcome, now)
        if kind != "renewalinfo":
            self.ended[kind] += 1
        self._changed = True
        self._update(record)

    def _renewal_info(self, record: HostRecord, info: RenewalInfo, now: float) -> HostRecord:
        certificate = self._certificates.get(record.host)
        if certificate is None:
            return record
        known = record.renew_at if record.serial == certificate.serial else 0.0
        renew_at = info.renew_at if info.known else known
        if renew_at and renew_at <= now and not known:
            self._events.write("renewal", "the CA wants it renewed now", record.host)
        return schedule.renewal_info(record, certificate, renew_at, info.ask_again, now)

    # What is wanted

    def _follow_wanted(self, now: float) -> bool:
        """Take in what the sources say, and see that every host has a pair; whether some have none yet."""
        answers = [source.hosts for source in self.sources if source.hosts is not None]
        wanted = set[str]().union(*(answer.wanted for answer in answers))
        if len(wanted) > MAX_HOSTS:
            log.warning("%d hosts want a certificate, and %d get one", len(wanted), MAX_HOSTS)
            wanted = set(sorted(wanted)[:MAX_HOSTS])
        self._wanted = frozenset(wanted)
        for host in wanted:
            record = self._records.get(host) or HostRecord(host)
            if now - record.wanted_at >= WANTED_INTERVAL or host not in self._records:
                self._update(replace(record, wanted_at=now))
        more = self._make_self_signed(now)
        if now >= self._next_removal:
            self._next_removal = now + REMOVAL_INTERVAL
            self._remove_unwanted(now)
        return more

    def _make_self_signed(self, now: float) -> bool:
        made = 0
        for host in self._wanted:
            certificate = self._certificates.get(host)
            if certificate is not None and not self._is_old_self_signed(host, certificate, now):
                continue
            if made >= MAX_SELF_SIGNED:
                return True
            made += 1
            try:
                self._certificates[host] = self._store.install(host, self_signed(host, now, self._store.key(host)))
            except StoreError as error:
                self._update(replace(self._records[host], reason=str(error)))
                if certificate is None and self._records[host].failures == 0:
                    self._update(schedule.failed(self._records[host], str(error), now, self._draw, asked=False))
                continue
            if certificate is None:
                self._events.write("self-signed", "a self-signed certificate stands in", host)
        return False

    def _is_old_self_signed(self, host: str, certificate: Certificate, now: float) -> bool:
        if not certificate.self_signed or certificate.foreign or host in self._busy:
            return False
        return now >= schedule.renewal_time(HostRecord(host), certificate)

    def _remove_unwanted(self, now: float) -> None:
        for host, record in list(self._records.items()):
            certificate = self._certificates.get(host)
            if host in self._wanted or host in self._busy or not schedule.removable(record, certificate, now):
                continue
            if certificate is not None:
                self._store.remove(host)
                del self._certificates[host]
                self._events.write("removed", "nobody serves it any more", host)
            del self._records[host]
            self._changed = True

    # What is due

    def _refusal(self, record: HostRecord, now: float) -> str:
        """Why no CA is asked for the host; empty when one is."""
        if not self._settings.asks:
            return "no CA is asked without --agree-tos"
        if record.host not in self._wanted:
            if not self.ready.is_set():
                return ""
            return "" if schedule.renewable(record, now) else "no key with a ready node has this host any more"
        return refuse_to_ask(record.host, self._settings.directory, dns_hook=self._settings.dns_hook is not None)

    def _plan(self, now: float) -> list[Due]:
        if self.attempts is None:
            self._next_time = now + MAX_SLEEP
            return []
        candidates = [
            record
            for record in self._records.values()
            if (record.host in self._wanted or self._kept(record, now)) and not self._refusal(record, now)
        ]
        slots = MAX_ATTEMPTS - len(self._busy)
        decision = schedule.plan(candidates, self._certificates, self._ca, self._busy, slots, now)
        self._next_time = decision.next_time
        for due in decision.due:
            if due.action == "order":
                self._update(schedule.begun(self._records[due.host], now))
        return decision.due

    def _kept(self, record: HostRecord, now: float) -> bool:
        """Nobody names the host now, but somebody did lately, and it has a certificate to be renewed."""
        certificate = self._certificates.get(record.host)
        return certificate is not None and not certificate.self_signed and schedule.renewable(record, now)

    def _start(self, dues: Sequence[Due]) -> None:
        for due in dues:
            self._busy.add(due.host)
            record = self._records[due.host]
            if due.action == "order":
                verb = "goes on with the order of before" if record.order else "asks for a certificate"
                self._events.write("asking", f"{verb} at {self._settings.directory}", due.host)
            threading.Thread(target=self._attempt, args=(due, record.order), name=due.host, daemon=True).start()

    def _attempt(self, due: Due, url: str) -> None:
        """On a thread of its own."""
        assert self.attempts is not None
        try:
            run = self.attempts
            outcome = run.order(due.host, url) if due.action == "order" else run.renewal_info(due.host)
        except Exception as error:
            log.debug("%s: attempt", due.host, exc_info=True)
            outcome = Failed(due.host, f"unexpected: {type(error).__name__}: {error}")
        self.post(outcome)

    # On disk

    def _save(self) -> bool:
        """Write the records if they have changed; whether what is on disk is what is known."""
        if not self._changed:
            return True
        try:
            self._state.save(self._records, self._ca)
        except OSError as error:
            if self._save_problem != str(error):
                self._save_problem = str(error)
                text = f"what is known can't be written ({error.strerror}): no CA is asked until it can be"
                self._events.write("warning", text)
            self._next_time = min(self._next_time, self._last_now + MAX_SLEEP)
            for host, record in list(self._records.items()):
                if record.asking and host not in self._busy:
                    self._records[host] = replace(record, asking=False)
            return False
        if self._save_problem:
            self._save_problem = ""
            self._events.write("info", "what is known can be written again")
        self._changed = False
        return True

    def _finish(self) -> None:
        """Give attempts the time to end, and keep how far they are."""
        deadline = time.monotonic() + STOP_TIMEOUT
        while self._busy and time.monotonic() < deadline:
            for message in self._messages(0.1):
                if isinstance(message, _Began):
                    self._update(replace(self._records[message.host], order=message.url))
                    message.kept.set()
                elif message is not None:
                    self._take(message, self._now())
        for host in self._busy:
            self._update(schedule.stopped(self._records[host]))
        self._save()
