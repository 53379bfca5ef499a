"""The loop of ``fastroute-certs``: takes in what happened, asks :mod:`.decide` what is due, and has it done.

One thread decides.  Attempts run on threads of their own and end with a value in the queue; the records are on disk
before an attempt begins, and with its order's URL before it goes on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from fastroute.certs.decide import schedule
from fastroute.certs.decide.hosts import LOCALHOST, HostTls, merged_hosts, refuse_to_ask
from fastroute.certs.decide.outcomes import Failed, Issued, Outcome, apply
from fastroute.certs.decide.records import CaRecord, HostRecord
from fastroute.certs.decide.schedule import Due
from fastroute.certs.events import CertsEvents
from fastroute.certs.inbox import Inbox, OrderBegan
from fastroute.certs.served import ServedCertificates
from fastroute.certs.settings import NOT_ASKED, CertsSettings
from fastroute.certs.sources import StatusSource
from fastroute.certs.store.pairs import PairStore
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.views import HostView, host_view, iso

if TYPE_CHECKING:
    from fastroute.certs.attempt import CertificateAttempts

#: Attempts at once.
MAX_ATTEMPTS = 16
#: Seconds of the longest sleep, also after a clock was set; of waiting for attempts at the end.
MAX_SLEEP, STOP_TIMEOUT = 20.0, 5.0
#: Seconds between two notes of the time at which a host was wanted, and between looks what can be removed.
WANTED_INTERVAL, REMOVAL_INTERVAL = 3_600.0, 600.0
#: Seconds between attempts to write what could not be written.
RETRY_INTERVAL = 2.0
log = logging.getLogger("fastroute.certs")


class CertsLoop:
    """Keeps a certificate for every host that ``sources`` want; while ``attempts`` is None, no CA is asked."""

    def __init__(
        self, settings: CertsSettings, store: PairStore, state: StateDirectory, events: CertsEvents,
    ) -> None:  # fmt: skip
        self._settings, self._state, self._events = settings, state, events
        self._served = ServedCertificates(store, events)
        self.inbox = Inbox()
        self.attempts: CertificateAttempts | None = None
        self.sources: Sequence[StatusSource] = ()
        self._draw = random.uniform
        self._records: dict[str, HostRecord] = {}
        self._ca = CaRecord(directory=settings.directory)
        self._wanted: dict[str, HostTls] = {}
        #: Some key is ``localhost``; else its certificate is not shown.
        self._localhost_is_key = False
        self._busy: set[str] = set()
        #: Attempts by how they ended.
        self.ended: Counter[str] = Counter()
        #: Every host that is wanted has had its pair at least once since the sources answered.
        self.ready = threading.Event()
        self._stopping, self._reload = threading.Event(), threading.Event()
        self._changed = False
        self._last_now = self._next_time = 0.0
        self._next_removal = 0.0
        self._save_problem = ""
        #: Events that wait until the change they tell of is on disk.
        self._news: list[tuple[str, str, str]] = []

    # From any thread

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._stopping.set()
        if self.attempts is not None:
            self.attempts.stop.set()
        self.inbox.post()

    def views(self) -> list[HostView]:
        """Every host that is wanted, or has a certificate."""
        now, records, ca = time.time(), dict(self._records), self._ca
        return [
            self._view(record, ca, now)
            for record in records.values()
            if (record.host in self._served.by_host or record.host in self._served.problems)
            and (record.host != LOCALHOST or self._localhost_is_key)
        ]

    @property
    def ca(self) -> CaRecord:
        """What is remembered of the CA."""
        return self._ca

    def _view(self, record: HostRecord, ca: CaRecord, now: float) -> HostView:
        certificate = self._served.by_host.get(record.host)
        held = schedule.held_until(record.host, ca)
        due = max(schedule.order_time(record, certificate, ca.directory), held)
        reason = f"{ca.reason or 'the CA limits us'}; on hold until {iso(held)}" if held > now else ""
        reason = self._served.problems.get(record.host, reason)
        return host_view(record, certificate, refusal=self._refusal(record, now), problem=reason, due=due, now=now)

    def look_again(self) -> None:
        """Look at the disk: people may have put pairs there, or taken them away."""
        self._reload.set()
        self.inbox.post()

    # The loop

    def run(self) -> None:
        """Decide until :meth:`stop`."""
        self._load()
        while not self._stopping.is_set():
            self._turn()
        self._finish()

    def _turn(self) -> None:
        wait = min(max(self._next_time - self._last_now, 0.05), MAX_SLEEP) if self._last_now else 0.0
        outcomes, began = self.inbox.take(wait)
        now = self._now()
        if self._reload.is_set():
            self._reload.clear()
            self._served.follow_disk()
        self._take(outcomes, began, now)
        incomplete = self._follow_wanted(now)
        due = self._plan(now)
        if self._save():
            self._start(due)
        for message in began:
            message.kept.set()
        if incomplete:
            self.inbox.post()
        elif any(source.hosts is not None for source in self.sources):
            self.ready.set()

    def _now(self) -> float:
        now = time.time()
        if now < self._last_now - 1:
            log.warning(
                "the clock was set back by %.0f s: what lay ahead of it is counted from now", self._last_now - now
            )
            for record in list(self._records.values()):
                self._update(schedule.rebased(record, now))
            self._ca = schedule.rebased_ca(self._ca, now)
            self._next_removal = 0.0
        self._last_now = now
        return now

    def _update(self, record: HostRecord) -> None:
        if self._records.get(record.host) != record:
            self._records[record.host] = record
            self._changed = True

    # What was there before

    def _load(self) -> None:
        now = time.time()
        self._served.load()
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
        self._adopt(now)

    def _adopt(self, now: float) -> None:
        """Take up certificates of which nothing is remembered: as if this CA had signed them just now, so that it is
        not asked for all of them again."""
        for host, certificate in self._served.by_host.items():
            if host not in self._records:
                own = "" if certificate.self_signed else self._settings.directory
                self._update(HostRecord(host, wanted_at=now, directory=own))

    # What happened

    def _take(self, outcomes: Sequence[Outcome], began: Sequence[OrderBegan], now: float) -> None:
        for message in began:
            self._update(replace(self._records[message.host], order=message.url))
        for outcome in outcomes:
            self._apply(outcome, now)

    def _apply(self, outcome: Outcome, now: float) -> None:
        host = outcome.host
        self._busy.discard(host)
        self.ended[outcome.name] += 1
        before = self._records.get(host) or HostRecord(host)
        applied = apply(outcome, before, self._ca, self._served.by_host.get(host), now, self._draw)
        if isinstance(outcome, Issued):
            self._served.issued(host, outcome.certificate)
        self._ca, self._changed = applied.ca, True
        self._update(applied.record)
        self._news += applied.events

    # What is wanted

    def _follow_wanted(self, now: float) -> bool:
        """Take in what the sources say, and see that every host has a pair.  Returns whether some have none yet."""
        hosts = merged_hosts(source.hosts for source in self.sources if source.hosts is not None)
        self._localhost_is_key = LOCALHOST in hosts
        hosts = {LOCALHOST: HostTls()} | hosts
        self._wanted = self._served.choose(hosts, labelled=self._settings.keys == "labelled")
        for host in self._wanted:
            record = self._records.get(host)
            if record is None or now - record.wanted_at >= WANTED_INTERVAL:
                self._update(replace(record or HostRecord(host), wanted_at=now))
        if now >= self._next_removal:
            self._next_removal = now + REMOVAL_INTERVAL
            self._served.follow_disk(thoroughly=True)
            self._remove_unwanted(now)
        incomplete = self._served.stand_in(self._wanted, self._busy, now)
        self._served.mark(self._wanted, now)
        return incomplete

    def _remove_unwanted(self, now: float) -> None:
        for host, record in list(self._records.items()):
            certificate = self._served.by_host.get(host)
            if host in self._wanted or host in self._busy or not schedule.removable(record, certificate, now):
                continue
            self._served.remove(host)
            del self._records[host]
            self._changed = True

    # What is due

    def _refusal(self, record: HostRecord, now: float) -> str:
        """Why no CA is asked for the host; empty when one is."""
        if not self._settings.asks:
            return NOT_ASKED
        if record.host not in self._wanted:
            if not self.ready.is_set():
                return ""
            return "" if schedule.renewable(record, now) else "no key with a ready node wants one for it any more"
        if record.host == LOCALHOST and not self._localhost_is_key:
            return "no key is called so"
        return refuse_to_ask(record.host, self._settings.directory, dns_hook=self._settings.dns_hook is not None)

    def _plan(self, now: float) -> list[Due]:
        if self.attempts is None:
            self._next_time = now + MAX_SLEEP
            return []
        # A host without a pair has a disk that is full: what a CA signed for it could not be kept, either.
        candidates = [
            self._records[host]
            for host in self._served.by_host
            if (host in self._wanted or self._kept(self._records[host], now))
            and not self._refusal(self._records[host], now)
        ]
        slots = MAX_ATTEMPTS - len(self._busy)
        decision = schedule.plan(candidates, self._served.by_host, self._ca, self._busy, slots, now)
        self._next_time = min(decision.next_time, now + RETRY_INTERVAL if self._served.problems else inf)
        for due in decision.due:
            if due.action == "order":
                self._update(schedule.begun(self._records[due.host], now))
        return decision.due

    def _kept(self, record: HostRecord, now: float) -> bool:
        """Whether a host that no source names now was named lately, and has a certificate to be renewed."""
        return not self._served.by_host[record.host].self_signed and schedule.renewable(record, now)

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
        self.inbox.post(outcome)

    # On disk

    def _save(self) -> bool:
        """Write the records if they have changed.  Returns whether the disk has all that is known."""
        if not self._changed:
            return True
        saved = self._write()
        for kind, text, about in self._news:
            self._events.write(kind, text, about)
        self._news.clear()
        return saved

    def _write(self) -> bool:
        try:
            self._state.save(self._records, self._ca)
        except OSError as error:
            if self._save_problem != str(error):
                self._save_problem = str(error)
                text = f"what is known can't be written ({error.strerror}): no CA is asked until it can be"
                self._events.write("warning", text)
            self._next_time = min(self._next_time, self._last_now + RETRY_INTERVAL)
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
            outcomes, began = self.inbox.take(0.1)
            self._take(outcomes, began, self._now())
            for message in began:
                message.kept.set()
        self._save()
