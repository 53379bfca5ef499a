"""Announcers of every kind, one router and a network that does what it likes, in virtual time.

The router is the real authenticator and table.  Controllers are the real session: ``a`` is elsewhere and proves
itself, ``b`` is on the router's machine.  Workers announce themselves from a host that the router allows.
What they send may be lost, doubled, delayed and overtaken; packets of controllers that ended stay under way; and
somebody who hears everything (and has no secret) repeats, bends and makes up packets, for the router and for the
controllers.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from support.lossy_link import Held, shown

from fastroute.controller.router_mode.packets_in_flight import EntryId, entry_id
from fastroute.controller.router_mode.session import RouterSession
from fastroute.router.control.auth.authenticator import AskAgain, PacketAuthenticator, Refused
from fastroute.router.control.auth.rules import AdmissionRules, IPAddress
from fastroute.router.control.state import load
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import dump
from fastroute.router.protocol.proof import Prover, sign_ack
from fastroute.router.protocol.subscription import (
    Ack,
    Announcement,
    Entry,
    PacketError,
    decode,
    encode_ack,
    encode_plain,
)

SECRET = b"what nobody on the network knows"
FAR, NEAR, FORGER = ip_address("198.51.100.1"), ip_address("127.0.0.1"), ip_address("203.0.113.9")
WORKERS = ip_address("10.0.0.9")
#: A worker announces itself again after so many seconds.
REFRESH = 10.0


class Router:
    """PacketAuthenticator and table, as control puts them together."""

    def __init__(self) -> None:
        self._boots = itertools.count(1)
        self.start(0.0)

    def start(self, now: float) -> None:
        """Without a snapshot: nothing is known."""
        self.boot = f"{next(self._boots):016x}"
        self.table = Table()
        self._open(now)

    def restart(self, now: float) -> None:
        """From a snapshot."""
        data = dump(self.table, self.boot, now)
        self.table = Table()
        self.boot = load(data, self.table, now, 0.0)
        self._open(now)

    def _open(self, now: float) -> None:
        rules = AdmissionRules(["127.0.0.0/8", "10.0.0.0/8"])
        self.authenticator = PacketAuthenticator(rules, SECRET, now, None, self.table.stamps)

    def datagram(self, data: bytes, sender: IPAddress, now: float) -> bytes | None:
        """Its answer, if it has one."""
        outcome = self.authenticator.authenticate(data, sender, 9, now, now)
        if isinstance(outcome, Refused):
            return None
        announcement = outcome.announcement
        result = "again" if isinstance(outcome, AskAgain) else ""
        source = self.table.sources.get(announcement.source)
        try:
            result = result or self.table.apply(announcement, str(sender), now) or ""
        except PacketError:
            result = "refused"
        if not result or not announcement.ack:
            return None
        instance = source.instance if source is not None and result == "behind" else -1
        answer = encode_ack(Ack(announcement.seq, self.boot, result, instance))  # type: ignore[arg-type]  # one of the results
        return sign_ack(answer, SECRET, self.authenticator.session(now), outcome.nonce) if outcome.nonce else answer


@dataclass(eq=False)
class Controller:
    """One start of a controller."""

    source: str
    sender: IPAddress
    session: RouterSession
    prover: Prover | None

    def poll(self, now: float) -> list[bytes]:
        """What it sends now."""
        datagrams = self.session.poll(now)
        return [self.prover.seal(datagram) for datagram in datagrams] if self.prover else datagrams

    def receive(self, datagram: bytes, now: float) -> None:
        """What it was sent."""
        try:
            ack = self.prover.open(datagram) if self.prover else decode(datagram)
        except PacketError:
            return
        if isinstance(ack, Ack):
            self.session.receive(ack, now)


@dataclass
class Network:
    """Loses a part of what it carries; the rest arrives after up to ``delay`` seconds, some of it twice."""

    random: random.Random
    loss: float = 0.0
    delay: float = 0.001
    under_way: list[tuple[float, int, Callable[[bytes], None], bytes]] = field(default_factory=list)
    order: Iterable[int] = field(default_factory=itertools.count)

    def put(self, now: float, datagram: bytes, arrive: Callable[[bytes], None]) -> None:
        """Carry it."""
        copies = 0 if self.random.random() < self.loss else 2 if self.random.random() < self.loss else 1
        for _ in range(copies):
            at = now + self.random.uniform(0.0, self.delay)
            heapq.heappush(self.under_way, (at, next(iter(self.order)), arrive, datagram))


class World:
    """All of it.  ``desired`` of each controller, and the workers that run, are what the router must end up with."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.router = Router()
        self.random = random.Random(seed)
        self.network = Network(self.random)
        self.desired: dict[str, dict[EntryId, Entry]] = {"a": {}, "b": {}}
        self.ever: dict[str, set[EntryId]] = {"a": set(), "b": set()}
        #: What each source has withdrawn, as the router acked: it must not come back by itself.
        self.settled: dict[str, set[EntryId]] = {"a": set(), "b": set()}
        self.workers: dict[EntryId, Entry] = {}
        self.ever_worked: set[EntryId] = set()
        self._refresh: list[tuple[float, EntryId]] = []
        self._instances = itertools.count(1)
        self.controllers: dict[str, Controller] = {}
        self._heard: dict[IPAddress, list[bytes]] = {FAR: [], WORKERS: []}
        self._answers: list[bytes] = []
        for source in self.desired:
            self.start_controller(source)

    def start_controller(self, source: str) -> None:
        """A new one, in place of the one before, whatever that still has under way."""
        sender = FAR if source == "a" else NEAR
        session = RouterSession(source, next(self._instances), heartbeat=5.0, limit=1_292, window=4, now=self.now)
        session.change((), self.desired[source].values(), self.now)
        self.controllers[source] = Controller(source, sender, session, Prover(SECRET) if source == "a" else None)

    def want(self, source: str, entries: Iterable[Entry]) -> None:
        """These, and nothing else, are desired of ``source`` from now on."""
        before, after = self.desired[source], {entry_id(entry): entry for entry in entries}
        self.desired[source] = after
        self.ever[source] |= after.keys()
        self.settled[source] -= after.keys()
        gone = [entry for name, entry in before.items() if name not in after]
        self.controllers[source].session.change(gone, after.values(), self.now)

    def work(self, entry: Entry, *, runs: bool) -> None:
        """A worker begins, or ends with a good-bye that may be lost."""
        self.ever_worked.add(entry_id(entry))
        if runs:
            self.workers[entry_id(entry)] = entry
            self._refresh.append((self.now, entry_id(entry)))
        elif self.workers.pop(entry_id(entry), None) is not None:
            self._send(encode_plain(Entry(entry.key, entry.address, gone=True), Announcement()), WORKERS)

    def forge(self, count: int) -> None:
        """So many datagrams of somebody who heard everything and knows nothing."""
        for _ in range(count):
            old = self.random.choice(self._heard[FAR] or [b"\xe0"])
            at = self.random.randrange(len(old))
            bent = old[:at] + bytes([old[at] ^ 1 << self.random.randrange(8)]) + old[at + 1 :]
            turned = old[:3] + bytes([self.random.choice((0, 1, 2))]) + old[4:]
            made = encode_plain(
                Entry("k1.com", "10.0.0.1:80", owner="c1@1", gone=self.random.random() < 0.5),
                Announcement(source="a", instance=10**6, seq=1, ack=True),
            )
            session = self.router.authenticator.session(self.now)
            for datagram in (
                old,
                bent,
                turned,
                made,
                sign_ack(made, b"no secret", session, self.random.randbytes(16).hex()),
            ):
                self._arrive(datagram, FORGER, None)
            announcement = decode(self._heard[FAR][-1]) if self._heard[FAR] else Announcement()
            assert isinstance(announcement, Announcement)
            results = ("applied", "full", "behind", "again", "refused")
            result = self.random.choice(results)
            lie = encode_ack(Ack(announcement.seq, self.router.boot, result, 10**6))  # type: ignore[arg-type]  # one of them
            lies = (lie, sign_ack(lie, b"no secret", session, announcement.nonce))
            for answer in (*lies, *self._answers[-3:], *self.random.sample(self._answers, min(3, len(self._answers)))):
                self.controllers["a"].receive(answer, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(100_000):
            for controller in self.controllers.values():
                for datagram in controller.poll(self.now):
                    self._send(datagram, controller.sender, controller)
            self._announce_workers()
            wire = self.network.under_way
            due = [controller.session.due for controller in self.controllers.values()]
            due += [at for at, _ in self._refresh[:1]] + [at for at, *_ in wire[:1]]
            following = max(self.now, min([*due, end]))
            self.router.table.expire(following)
            if following >= end:
                self.now = end
                return
            self.now = following
            while wire and wire[0][0] <= self.now:
                _, _, arrive, datagram = heapq.heappop(wire)
                arrive(datagram)
                self._settle()
        raise AssertionError(f"it never rests: now {self.now}")

    def check(self) -> None:
        """Nothing is there that its owner never said, or has taken back for good."""
        for claim in self.router.table.records():
            source, name = claim.id.source, (claim.id.key, claim.id.address, claim.id.owner)
            assert name in (self.ever[source] if source else self.ever_worked), claim.id
            assert not source or name not in self.settled[source], f"{claim.id} came back"
        assert set(self.router.table.sources) <= {"a", "b"}
        for pool in self.router.table.pools.values():
            assert all(member.claims for member in pool.members.values())

    def _settle(self) -> None:
        for source, controller in self.controllers.items():
            session = controller.session
            all_said = session._since == 0 and session._full_at == math.inf and not session.status(0.0)["pending"]
            if all_said and session.acks and session.boot == self.router.boot:
                self.settled[source] |= self.ever[source] - self.desired[source].keys()

    def restart_router(self, *, kept: bool) -> None:
        """From a snapshot, or with nothing: then it may hear of what was withdrawn once more."""
        if kept:
            self.router.restart(self.now)
        else:
            self.router.start(self.now)
            self.settled = {"a": set(), "b": set()}

    def held(self, source: str) -> Held:
        """What the router holds of ``source``."""
        return shown(claim.entry for claim in self.router.table.records() if claim.id.source == source)

    def _announce_workers(self) -> None:
        while self._refresh and self._refresh[0][0] <= self.now:
            _, name = self._refresh.pop(0)
            if name in self.workers:
                self._send(encode_plain(self.workers[name], Announcement()), WORKERS)
                self._refresh.append((self.now + REFRESH, name))
                self._refresh.sort()

    def _send(self, datagram: bytes, sender: IPAddress, controller: Controller | None = None) -> None:
        self._heard.get(sender, []).append(datagram)
        self.network.put(self.now, datagram, lambda data: self._arrive(data, sender, controller))

    def _arrive(self, datagram: bytes, sender: IPAddress, controller: Controller | None) -> None:
        answer = self.router.datagram(datagram, sender, self.now)
        self.check()
        if answer is not None and controller is not None:
            if controller.prover:
                self._answers.append(answer)
            self.network.put(self.now, answer, lambda data: controller.receive(data, self.now))
