"""Millions of datagrams through authenticator and table: no crash, no change of what is others', flat memory.

``PYTHONPATH=src:tests python -m fuzz.datagrams [COUNT [SEED]]`` (``make fuzz``).  Two routers, in virtual time:

* one that believes by secret and signature, and one host without either.  What comes is made by that host and by a
  stranger, who have heard every packet that was ever said: bytes changed, pairs mixed, cut, repeated, turned round.  A
  controller with the secret, a signed worker and an operator go on announcing in between, and must be heard;
* one whose senders are all trusted: anything may change, nothing may break.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from support.entries import make_entry
from support.keys import key_pair, signed, write_public

from fastroute.router.control.auth.authenticator import AskAgain, PacketAuthenticator, Refused
from fastroute.router.control.auth.rules import AdmissionRules, IPAddress
from fastroute.router.control.auth.signatures import SignatureVerifier
from fastroute.router.control.relays import node_op, state_op
from fastroute.router.control.table.sources import RecordId
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import digest_of
from fastroute.router.protocol.key_state import MAINTENANCE, PAUSED, STATE_OWNER, AnnouncedState
from fastroute.router.protocol.proof import Prover, sign_ack
from fastroute.router.protocol.subscription import (
    Ack,
    Announcement,
    Entry,
    PacketError,
    decode,
    encode,
    encode_ack,
    encode_plain,
)
from fastroute.router.protocol.wire import Pairs, WireError, decode_vars, encode_packet, encode_vars
from fastroute.router.runtime.own_sockets import OwnSockets

SECRET = b"the fuzzer does not know this one"
OWNS = OwnSockets([("127.0.0.1:3031", None, False)]).owns
HOST, STRANGER, CONTROLLER = map(ip_address, ("10.0.0.7", "203.0.113.9", "198.51.100.1"))
#: Seconds of virtual time for each datagram: a host may send about so many.
STEP = 0.01
WALL = 1_700_000_000.0

NAMES = [b"key", b"address", b"weight", b"backup", b"source", b"instance", b"seq", b"op", b"owner", b"drain", b"count",
         b"digest", b"since", b"version", b"ack", b"algo", b"proto", b"modifier1", b"node", b"gone", b"unix", b"sign",
         b"session", b"nonce", b"hmac", b"via", b"cores", b"load", b"state", b"of", b"seconds", b"stamp", b"allow",
         b"message"]  # fmt: skip
VALUES = [b"foo.com", b"*.b", b"x.a.b:80", b"a.b/c", b":80", b"0.0.0.0:1", b"127.0.0.1:3031", b"[::1]:2", b"web:80",
          b"/run/s", b"@x", b"0", b"1", b"7", b"65535", b"65536", b"heartbeat", b"mark", b"iphash", b"http", b"docker",
          b"operator", b"static", b"paused", b"maintenance",
          b"10.0.0.0/8,::1", b"0.5", b"10.0.0.7:81", b"10.9.0.1:80", b"4e12@1", b"x" * 256, b"",
          b"%d" % (2**63 - 1)]  # fmt: skip


class Announcers:
    """Who announces what is to stay: a controller and an operator by secret, a worker by signature."""

    def __init__(self) -> None:
        self.prover = Prover(SECRET)
        self.seq = 0
        self.entries = tuple(Entry(f"k{n % 3}.com", f"10.9.0.{n}:80", owner=f"c{n}@1") for n in range(8))
        self.state = Entry("k1.com", owner=STATE_OWNER, state=AnnouncedState(MAINTENANCE, "later", stamp=1))
        self.operators = Entry("foo.com", "10.9.1.1:80")
        self.workers = Entry("signed.com", "10.9.2.1:80")
        #: These come and go: in odd rounds they are there.
        self.guests = (Entry("foo.com", "10.9.1.2:80"), Entry("signed.com", "10.9.2.2:80"))
        self.round = 0

    @property
    def told(self) -> tuple[Entry, ...]:
        """What the controller tells."""
        return (*self.entries, self.state)

    def held(self) -> set[RecordId]:
        """What the router must hold of them now, and nothing else."""
        docker = {RecordId("docker", entry.owner, entry.key, entry.address) for entry in self.told}
        operators = [self.operators, *self.guests[:1] * (self.round % 2)]
        workers = [self.workers, *self.guests[1:] * (self.round % 2)]
        docker.update(RecordId("operator", "", entry.key, entry.address) for entry in operators)
        return docker | {RecordId("", "", entry.key, entry.address) for entry in workers}

    def packets(self, wall: float) -> tuple[list[bytes], list[bytes]]:
        """What they say now: still to be proven, and signed."""
        self.round += 1
        self.seq += 1
        head = Announcement(source="docker", instance=3, seq=self.seq, ack=True)
        batch = encode(replace(head, entries=self.told))
        self.seq += 1
        beat = replace(head, op="heartbeat", seq=self.seq, count=len(self.told), digest=digest_of(self.told))
        operator = encode_plain(self.operators, Announcement(source="operator", ack=True))
        gone = self.round % 2 == 0
        guest, worker = (replace(entry, gone=gone) for entry in self.guests)
        proven = [batch, encode(beat), operator, encode_plain(guest, Announcement(source="operator", ack=True))]
        stamps = ((self.workers, int(wall)), (worker, int(wall) + gone))
        return proven, [signed(encode_plain(entry, Announcement()), stamp, key_pair()) for entry, stamp in stamps]


class Forger:
    """Makes datagrams of what was heard and of nothing."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        many = tuple(make_entry(f"k{n % 3}.com", f"10.0.0.7:{80 + n}", weight=n + 1) for n in range(6))
        paused = Entry("foo.com", owner=STATE_OWNER, state=AnnouncedState(PAUSED, seconds=9, stamp=2))
        self._own: list[bytes] = [
            encode_plain(Entry("foo.com", ":81"), Announcement()),
            encode_plain(
                make_entry("k1.com", "10.0.0.7:80", backup=1, protocol="http", algorithm="lrc"), Announcement()
            ),
            encode_plain(Entry("bar.com", "10.0.0.7:82", gone=True), Announcement()),
            encode(Announcement(entries=many)),
            encode(Announcement(entries=many, source="docker", instance=9, seq=9, ack=True)),
            encode(Announcement(entries=(replace(many[0], gone=True),), source="other", instance=1, seq=5)),
            encode(Announcement(entries=(paused, replace(paused, key="k1.com")), source="other", instance=1, seq=5)),
            encode(Announcement(entries=(replace(paused, gone=True),), source="docker", instance=9, seq=9)),
            encode(Announcement("mark", (), "docker", 9, 9, since=1, count=1)),
            encode(Announcement("heartbeat", (), "other", 1, 6, ack=True)),
            encode_ack(Ack(1, "00ff", "refused", reason="no")),
        ]
        self.heard: list[bytes] = [*self._own]

    def hear(self, packet: bytes) -> None:
        """Remember a packet, in place of some other when there are many."""
        if len(self.heard) < 400:
            self.heard.append(packet)
        else:
            self.heard[self.random.randrange(400)] = packet

    def make(self) -> bytes:
        """One datagram."""
        rng = self.random
        kind = rng.random()
        base = rng.choice(self._own if rng.random() < 0.6 else self.heard)
        if kind < 0.1:
            return base
        if kind < 0.2:
            return base[:3] + bytes([rng.choice((0, 1, 2, 255))]) + base[4:]
        if kind < 0.5:
            changed = bytearray(base)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        if kind < 0.55:
            return base[: rng.randrange(len(base))]
        if kind < 0.6:
            return rng.randbytes(rng.randrange(40))
        return self._mixed(base)

    def _mixed(self, base: bytes) -> bytes:
        rng = self.random
        try:
            pairs: Pairs = decode_vars(base[4:])
        except WireError:
            pairs = []
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(pairs) + 1)
            what = rng.random()
            if what < 0.3 and pairs:
                del pairs[min(at, len(pairs) - 1)]
            elif what < 0.4:
                nested = encode_vars([(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randrange(5))])
                pairs.insert(at, (b"node", nested))
            else:
                pairs.insert(at, (rng.choice(NAMES), rng.choice(VALUES)))
        return encode_packet(224, rng.choice((0, 0, 0, 1)), encode_vars(pairs))


class World:
    """One router, as control runs it, without sockets."""

    def __init__(self, rules: AdmissionRules, signatures: SignatureVerifier | None = None) -> None:
        self.now = 0.0
        self.table = Table()
        self.authenticator = PacketAuthenticator(rules, SECRET, 0.0, signatures, self.table.stamps)
        self.results: dict[str, int] = {}

    @property
    def wall(self) -> float:
        """Seconds since the epoch."""
        return WALL + self.now

    def take(self, datagram: bytes, sender: IPAddress | None, share: int = 2_000) -> str:
        """What control does with a datagram; the result or why it was refused, and the nonce to answer to."""
        outcome = self.authenticator.authenticate(datagram, sender, 9, self.now, self.wall)
        if isinstance(outcome, Refused):
            result = outcome.reason
        elif isinstance(outcome, AskAgain):
            result = "again"
        else:
            try:
                result = self.table.apply(outcome.announcement, str(sender), self.now, share) or "overtaken"
            except PacketError as error:
                result = error.reason
        self.results[result] = self.results.get(result, 0) + 1
        return result

    def rest(self) -> None:
        """What control does between bursts."""
        self.table.expire(self.now)
        for key, address in self.table.dirty_nodes:
            if (member := self.table.member(key, address)) is not None:
                assert len(node_op(key, member)) == 4
        states = self.table.states
        for key in states.dirty:
            assert len(state_op(key, states.of(key), self.now)) == 3
        for found in (self.table.dirty_nodes, self.table.dirty_pools, states.dirty, self.table.notes, self.table.heard):
            found.clear()


class Believing(World):
    """The router of the first kind, with those who announce to it."""

    def __init__(self, keys: Path) -> None:
        write_public(keys / "signed.com.pem", key_pair())
        super().__init__(AdmissionRules(["10.0.0.0/8"], OWNS), SignatureVerifier("sha256", str(keys)))
        self.announcers = Announcers()

    def say(self, forger: Forger) -> None:
        """Everybody announces; the forger hears it."""
        proven, workers = self.announcers.packets(self.wall)
        for packet in proven:
            for _ in range(3):
                sealed = self.announcers.prover.seal(packet)
                forger.hear(sealed)
                result = self.take(sealed, CONTROLLER)
                assert result in ("applied", "full", "again"), result
                said = decode(sealed)
                assert isinstance(said, Announcement)
                ack = encode_ack(Ack(said.seq, "00ff", "applied"))
                self.announcers.prover.open(sign_ack(ack, SECRET, self.authenticator.session(self.now), said.nonce))
                if result != "again":
                    break
        for packet in workers:
            forger.hear(packet)
            assert self.take(packet, ip_address("192.0.2.1")) == "applied"

    def check(self) -> None:
        """Nothing of others was changed, and nothing of others was added."""
        records = {claim.id for claim in self.table.records()}
        held = self.announcers.held()
        assert held <= records, f"lost: {held - records}"
        for record in records - held:
            assert not record.source, record
            assert record.address.startswith("10.0.0.7:"), record
        docker = self.table.sources["docker"]
        assert set(self.table.sources) == {"docker"}
        assert (docker.instance, docker.count) == (3, len(self.announcers.told))
        assert [held.state for held in self.table.states.held()] == [self.announcers.state.state]
        for entry in (*self.announcers.entries, self.announcers.operators, self.announcers.workers):
            member = self.table.member(entry.key, entry.address)
            assert member is not None
            assert (member.weight, member.draining, member.stale) == (1, False, False)
            assert not [claim for claim in member.claims if claim not in held]


def run(count: int, seed: int = 1, report: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """``count`` forged datagrams to each of the two routers; how often each result came of them at the first."""
    forger = Forger(seed)
    with tempfile.TemporaryDirectory() as keys:
        believing, trusting = Believing(Path(keys)), World(AdmissionRules(["127.0.0.0/8"], OWNS))
        local = ip_address("127.0.0.1")
        began, first_rss = time.monotonic(), 0
        for number in range(count):
            if number % 1000 == 0:
                if number:
                    believing.check()
                believing.say(forger)
                believing.rest()
                believing.check()
                trusting.rest()
            if number % 1_000_000 == 0 and number:
                rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                first_rss = first_rss or rss
                report(f"{number:,} datagrams, {number / (time.monotonic() - began):,.0f}/s, {rss} MB at most so far")
            datagram = forger.make()
            for world in (believing, trusting):
                world.now += STEP
            believing.take(datagram, HOST if number % 3 else STRANGER)
            trusting.take(datagram, local, 10**6)
        believing.check()
    last_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert not first_rss or last_rss < first_rss * 1.1 + 10, f"memory grew from {first_rss} to {last_rss} MB"
    return believing.results


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    found = run(total, int(sys.argv[2]) if len(sys.argv) > 2 else 1, lambda line: print(line, flush=True))
    print(f"{total:,} datagrams to each of two routers: no crash, no change of what is others'; {found}")
