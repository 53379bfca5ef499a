"""A lease and a router's real table over a link that loses and doubles: in the end the table holds what is true."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.router.control.table.table import Table
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode_plain
from fastroute.router.sidecar.lease import Lease

#: The machine may be busy: time is not what these examples are about.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
KEYS = ("foo.com", "bar.com")


class World:
    """Virtual time.  ``acks``: the router is ours; else an original, which never says anything."""

    def __init__(self, seed: int, loss: float, acks: bool) -> None:
        self.random, self.loss, self.acks, self.now, self.boots = random.Random(seed), loss, acks, 100.0, 0
        self.lease = Lease([Entry(key, owner="me") for key in KEYS], self.random.uniform)
        self.restart()

    def restart(self) -> None:
        self.boots += 1
        self.table = Table(tolerance=25)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := min(self.lease.due, end)) < end:
            self.now = max(self.now, due)
            self.table.expire(self.now)
            for index, entry in self.lease.packets(self.now):
                self._carry(index, entry)
        self.now = end
        self.table.expire(end)

    def _carry(self, index: int, entry: Entry) -> None:
        told = decode(encode_plain(entry, Announcement(seq=1, ack=True)))
        assert isinstance(told, Announcement)
        for _ in range(2 if self.random.random() < 0.1 else 1):
            if self.random.random() < self.loss:
                continue
            self.table.apply(told, "127.0.0.1", self.now)
            if self.acks and self.random.random() >= self.loss:
                boot = f"{self.boots:016x}"
                if boot != getattr(self, "boot", boot):
                    self.lease.announce_again(self.now)
                self.boot = boot
                self.lease.on_ack(index, self.now, Ack(1, boot, "applied"), self.now)

    def held(self) -> set[tuple[str, str]]:
        return {(claim.id.key, claim.id.address) for claim in self.table.records()}


STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "move", "leave", "restart", "wait"]), st.floats(0.01, 12)), max_size=12
)


@UNTIMED
@given(st.integers(0, 2**32), st.floats(0, 0.6), st.booleans(), STEPS)
def test_the_table_ends_with_what_is_true(seed: int, loss: float, acks: bool, steps: list[tuple[str, float]]) -> None:
    world = World(seed, loss, acks)
    for step, seconds in steps:
        if step in ("join", "move"):
            world.lease.join("10.0.0.1:80" if step == "join" else "10.0.0.2:80", world.now)
        elif step == "leave":
            world.lease.leave(world.now)
        elif step == "restart":
            world.restart()
        world.run(seconds)
    world.loss = 0
    # What was lost of a goodbye to who never acks is over with the tolerance.
    world.run(40)
    expected = {(key, world.lease.address) for key in KEYS} if world.lease.joined else set()
    assert world.held() == expected
    assert world.lease.withdrawn(world.now) is not world.lease.joined
    assert world.lease.drained(world.now, grace=5) is not world.lease.joined


@UNTIMED
@given(st.integers(0, 2**32))
def test_a_third_of_all_datagrams_lost_costs_no_lease(seed: int) -> None:
    world = World(seed, 0.0, acks=True)
    world.lease.join("10.0.0.1:80", world.now)
    world.run(2)
    world.loss = 0.33
    for _ in range(60):
        world.run(1)
        assert len(world.held()) == len(KEYS)
