"""Whatever network, restarts and forgers do: what was announced is what is routed in the end, and never another's."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.entries import make_entry
from support.lossy_link import shown
from support.wire_world import World

from fastroute.router.protocol.subscription import Entry

DEEP = os.environ.get("FASTROUTE_FUZZ") == "deep"
SOURCES = st.sampled_from("ab")
#: Twelve containers on four addresses: each address has been three containers', under two keys.
CONTAINERS = st.sets(st.integers(0, 11), max_size=8)


def container(number: int, weight: int) -> Entry:
    key = f"k{number % 2}.com"
    return make_entry(key, f"10.0.0.{number % 4}:80", owner=f"c{number}@1", weight=weight, drain=number == 5)


class Wire(RuleBasedStateMachine):
    """Rules change what is wanted or break something; in the end the network heals and all must agree."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = World(seed)

    @rule(source=SOURCES, numbers=CONTAINERS, weight=st.integers(1, 3))
    def containers_come_and_go(self, source: str, numbers: set[int], weight: int) -> None:
        self.world.want(source, [container(number, weight) for number in sorted(numbers)])

    @rule(source=SOURCES, number=st.integers(0, 11), slow=st.booleans())
    def a_container_lives_shortly(self, source: str, number: int, slow: bool) -> None:
        before = list(self.world.desired[source].values())
        if slow:
            self.world.network.delay = 3.0
        self.world.want(source, {entry.owner: entry for entry in (*before, container(number, 1))}.values())
        self.world.run(2.0)
        self.world.want(source, [entry for entry in before if entry.owner != f"c{number}@1"])
        self.world.run(4.0)

    @rule(number=st.integers(0, 2), runs=st.booleans())
    def a_worker_begins_or_ends(self, number: int, runs: bool) -> None:
        self.world.work(Entry("k0.com", f"10.0.0.9:{80 + number}"), runs=runs)

    @rule(source=SOURCES)
    def a_controller_is_restarted(self, source: str) -> None:
        self.world.start_controller(source)

    @rule(kept=st.booleans())
    def the_router_is_restarted(self, kept: bool) -> None:
        self.world.restart_router(kept=kept)

    @rule(loss=st.sampled_from([0.0, 0.1, 0.5, 1.0]), delay=st.sampled_from([0.001, 0.1, 3.0]))
    def the_network_changes(self, loss: float, delay: float) -> None:
        self.world.network.loss, self.world.network.delay = loss, delay

    @rule(count=st.integers(1, 8))
    def somebody_forges(self, count: int) -> None:
        self.world.forge(count)

    @rule(seconds=st.sampled_from([0.005, 0.1, 1.0, 4.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.network.loss, world.network.delay = 0.0, 0.01
        world.forge(3)
        # A router that was lost is asked once a second; a controller that was outbid too often waits 20 s.
        world.run(70.0)
        for source, desired in world.desired.items():
            assert world.held(source) == shown(desired.values()), source
        assert world.held("") == shown(world.workers.values())
        world.check()


TestWire = Wire.TestCase
TestWire.settings = settings(
    max_examples=400 if DEEP else 20,
    stateful_step_count=60 if DEEP else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
