"""Random lives of containers under events that are lost, late, repeated and out of order, and a Docker that fails.

Always: once every event is told, no route leads to a container that cannot serve, unless an event about it was lost or
is late; and a container that serves, and to which nothing happens, keeps its route whatever Docker's API goes through.
After a quiet moment (a comparison with a Docker that answers): the routes are exactly those of all that serve.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from support.fake_container import FakeContainer
from support.fake_docker import REPLAYED, Event
from support.simulated_engine import Simulation

from fastroute.controller.decide import messages as m
from fastroute.controller.decide import tracked

KEYS = ("a.com", "b.com", "*.c.com/x")
NETWORK = "bridge"
#: What may go wrong; a run has few of them, so that much of what happens is certain.
TROUBLES = ("lost", "late events", "disorder", "failing calls", "late answers", "cut", "restarts")
#: A container that is up so many seconds after its stop signal has survived it: with a HEALTHCHECK that turned healthy
#: since (tracked.MIN_STOP_TIMEOUT + STOP_SLACK), without (UNSEEN_STOP_TIMEOUT + STOP_SLACK).
RECOVERED, SURVIVED = 15.0, 125.0


@pytest.fixture(autouse=True)
def nobody_is_held_back() -> Iterator[None]:
    """Crash loops have tests of their own; random lives are full of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracked, "CRASH_LIMIT", 1_000_000)
        yield


class ContainerLives(RuleBasedStateMachine):
    """The model is the fake engine itself, plus ``stopping`` (got a stop signal, has not ended), ``sim.closed`` (its
    port does not accept yet), ``unsure`` (nobody can know), ``steady`` (served at the last quiet moment, and nothing
    happened since), ``recovered`` (turned healthy after its stop signal) and ``anew`` (known to be healthy, until a
    new daemon began its checks anew)."""

    containers = Bundle("containers")

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation()
        self.sim.connect()
        self.count = 0
        self.connected = True
        self.late_events: list[Event] = []
        self.stopping: dict[str, float] = {}
        self.recovered: set[str] = set()
        self.anew: set[str] = set()
        self.unsure: set[str] = set()
        self.steady: set[str] = set()
        self.troubles: set[str] = set()

    def _about(self, one: FakeContainer) -> None:
        """Something happens to ``one``; nobody can know if the event is lost or the stream is away."""
        self.steady.discard(one.id)
        if self.sim.lost or not self.connected:
            self.unsure.add(one.id)

    @initialize(troubles=st.sets(st.sampled_from(TROUBLES), max_size=2))
    def choose(self, troubles: set[str]) -> None:
        self.troubles = troubles
        self.sim.late = "late answers" in troubles

    # Lives.

    @rule(
        target=containers,
        key=st.sampled_from(KEYS),
        started=st.booleans(),
        health=st.sampled_from(["", "healthy"]),
        probe=st.sampled_from(["none", "tcp"]),
    )
    def create(self, key: str, started: bool, health: str, probe: str) -> FakeContainer:
        self.count += 1
        labels = {"fastroute.key": key, "fastroute.probe": probe}
        one = self.sim.docker.create(f"c{self.count}", labels, NETWORK, health=health)
        self._about(one)
        if started:
            self._start(one, "")
        return one

    @rule(one=containers, address=st.sampled_from(["", "172.99.9.1", "172.99.9.2"]))
    def start(self, one: FakeContainer, address: str) -> None:
        held = {at for other in self.sim.docker.containers.values() for at in other.networks.values()}
        if one.status in ("created", "exited"):
            self._about(one)
            self._start(one, "" if address in held else address)

    def _start(self, one: FakeContainer, address: str) -> None:
        if one.labels["fastroute.probe"] == "tcp" and not one.health:
            self.sim.closed.add(one.id)
        self.sim.docker.start_container(one, address)
        self._ended(one)

    def _ended(self, one: FakeContainer) -> None:
        self.stopping.pop(one.id, None)
        self.recovered.discard(one.id)
        self.anew.discard(one.id)

    @rule(one=containers)
    def open_port(self, one: FakeContainer) -> None:
        self.sim.closed.discard(one.id)

    @rule(one=containers, signal=st.sampled_from([15, 9, 3, 2, 1]))
    def kill(self, one: FakeContainer, signal: int) -> None:
        if one.status == "running":
            if signal != 1:
                self._about(one)
                self.stopping[one.id] = self.sim.now
                self.recovered.discard(one.id)
            self.sim.docker.kill(one, signal)

    @rule(one=containers)
    def die(self, one: FakeContainer) -> None:
        if one.status == "running":
            self._about(one)
            self.sim.docker.die(one)
            self._ended(one)

    @rule(one=containers)
    def run_out_of_memory(self, one: FakeContainer) -> None:
        """A child of it: the container serves on."""
        if one.status == "running":
            self.sim.docker.run_out_of_memory(one)

    @rule(one=containers)
    def pause_or_unpause(self, one: FakeContainer) -> None:
        if one.status in ("running", "paused"):
            self._about(one)
            (self.sim.docker.pause if one.status == "running" else self.sim.docker.unpause)(one)

    @rule(one=containers)
    def leave_or_join_the_network(self, one: FakeContainer) -> None:
        if one.status == "running":
            self._about(one)
            (self.sim.docker.disconnect if one.networks else self.sim.docker.connect)(one, NETWORK)

    @rule(one=containers, health=st.sampled_from(["healthy", "unhealthy"]))
    def change_health(self, one: FakeContainer, health: str) -> None:
        if one.health and one.status == "running":
            self._about(one)
            self.anew.discard(one.id)
            if health == "healthy" and one.id in self.stopping:
                self.recovered.add(one.id)
            self.sim.docker.set_health(one, health)

    @rule(one=consumes(containers))
    def remove(self, one: FakeContainer) -> None:
        self._about(one)
        if one.status in ("running", "paused"):
            self.sim.docker.die(one)
        self.sim.docker.remove(one)
        self._ended(one)

    @rule(one=consumes(containers), status=st.sampled_from(["removing", "dead"]))
    def get_stuck_in_removal(self, one: FakeContainer, status: str) -> None:
        """It stands in every list from then on, and no inspect finds it."""
        self._about(one)
        if one.status in ("running", "paused"):
            self.sim.docker.die(one)
        self.sim.docker.get_stuck(one, status)
        self._ended(one)

    # Faults.

    @precondition(lambda self: "lost" in self.troubles)
    @rule(lost=st.booleans())
    def lose_events(self, lost: bool) -> None:
        self.sim.lost = lost

    @precondition(lambda self: "disorder" in self.troubles)
    @rule(random=st.randoms(use_true_random=False))
    def reorder_and_repeat_events(self, random) -> None:
        events = [*self.sim.events, *random.sample(list(self.sim.events), min(2, len(self.sim.events)))]
        random.shuffle(events)
        self.sim.events.clear()
        self.sim.events.extend(events)

    @precondition(lambda self: "late events" in self.troubles)
    @rule()
    def delay_events(self) -> None:
        self.late_events += self.sim.events
        self.unsure.update(one for one in map(_whose, self.sim.events))
        self.sim.events.clear()

    @precondition(lambda self: self.late_events)
    @rule()
    def late_events_arrive(self) -> None:
        self.steady -= set(map(_whose, self.late_events))
        self.sim.events.extend(self.late_events)
        self.late_events.clear()

    @precondition(lambda self: "failing calls" in self.troubles)
    @rule(what=st.sets(st.sampled_from(["list", "inspect", "empty"])))
    def fail_calls(self, what: set[str]) -> None:
        self.sim.failing = what

    @precondition(lambda self: self.sim.answers)
    @rule()
    def late_answers_arrive(self) -> None:
        self.sim.answer()

    @precondition(lambda self: "cut" in self.troubles and self.connected)
    @rule()
    def cut(self) -> None:
        self.connected = False
        self.sim.events.clear()
        self.sim.tell(m.Disconnected("as told"))
        self.unsure.update(one.id for one in self.sim.docker.containers.values())

    @precondition(lambda self: not self.connected)
    @rule()
    def come_back(self) -> None:
        self.sim.events.clear()
        self.sim.connect()
        self.connected = True

    @precondition(lambda self: "restarts" in self.troubles)
    @rule(one=containers)
    def overrun_what_can_be_replayed(self, one: FakeContainer) -> None:
        self.sim.docker.run_health_checks(one, REPLAYED)
        self.unsure |= self.stopping.keys()

    @precondition(lambda self: "restarts" in self.troubles)
    @rule()
    def restart_the_daemon(self) -> None:
        """With live-restore: containers live on, but nobody remembers what happened, or who was healthy."""
        known, docker = self._routed_lives(), self.sim.docker
        healthy = {one.id for one in docker.containers.values() if one.health == "healthy"}
        if self.connected:
            self.cut()
        docker.begin_health_again()
        self.anew = (self.anew | healthy) & known
        self.come_back()

    @precondition(lambda self: "restarts" in self.troubles)
    @rule()
    def restart_the_daemon_in_a_quiet_moment(self) -> None:
        self.quiet(survive=False)
        self.restart_the_daemon()

    @precondition(lambda self: "restarts" in self.troubles)
    @rule()
    def restart_controller(self) -> None:
        self.sim.restart_controller()
        self.connected = True
        self.steady.clear()
        self.anew.clear()
        self.unsure = {one for one in self.stopping if one in self.unsure}

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.sim.pass_time(seconds)
        survivors = (
            one
            for one, at in self.stopping.items()
            if self.sim.now - at >= (RECOVERED if one in self.recovered else SURVIVED)
        )
        self.unsure.update(survivors)

    # What must hold.

    @rule(survive=st.booleans())
    def quiet(self, survive: bool) -> None:
        for one in [one for one in self.sim.docker.containers.values() if one.id in self.stopping]:
            if one.status == "paused":
                self.sim.docker.unpause(one)
            if not survive:
                self.die(one)
        self.late_events_arrive()
        for one in self.sim.docker.containers.values():
            if one.status == "running" and one.health == "starting":
                self.sim.docker.set_health(one, "healthy")
        self.anew.clear()
        self.sim.lost, self.sim.failing = False, set()
        self.sim.late = False
        self.sim.answer()
        if not self.connected:
            self.come_back()
        self.sim.settle()
        self.sim.pass_time(200)
        self.unsure.clear()
        self.stopping.clear()
        self.recovered.clear()
        serving = self._serving()
        assert self.sim.nodes == {(one.labels["fastroute.key"], one.name) for one in serving}
        there = [one for one in self.sim.docker.containers.values() if not one.stuck]
        assert self.sim.keys == {one.labels["fastroute.key"] for one in there}
        if not self.troubles:
            assert self.sim.drift == {}
        self.steady = {one.id for one in serving}
        self.sim.late = "late answers" in self.troubles

    @invariant()
    def no_route_leads_to_a_container_that_cannot_serve(self) -> None:
        if not self.connected:
            return
        # Before anything is asked of Docker, and after what was asked is answered.
        for go_on in (self.sim.decide, self.sim.settle):
            go_on()
            assert self._routed() <= {one.id for one in self._serving()} | self.unsure
            assert self.steady <= self._routed()
            addresses = [at for _, at, _ in self.sim.reconciler.desired if at]
            assert len(addresses) == len(set(addresses))

    @invariant()
    def no_route_flaps(self) -> None:
        assert self.steady <= self._routed()

    def _routed(self) -> set[str]:
        return {owner.partition("@")[0] for _, at, owner in self.sim.reconciler.desired if at}

    def _routed_lives(self) -> set[str]:
        """Who is routed for the start that it is in."""
        owners = {owner for _, at, owner in self.sim.reconciler.desired if at}
        lives = self.sim.docker.containers.values()
        return {one.id for one in lives if f"{one.id}@{one.inspect()['State']['StartedAt']}" in owners}

    def _serving(self) -> list[FakeContainer]:
        return [
            one
            for one in self.sim.docker.containers.values()
            if one.status == "running"
            and (one.health in ("", "healthy") or one.id in self.anew)
            and one.id not in self.stopping.keys() | self.sim.closed
            and any(one.networks.values())
        ]


def _whose(event: Event) -> str:
    """The id of the container that an event is about."""
    id: str = event["Actor"]["Attributes"].get("container") or event["Actor"]["ID"]
    return id


ContainerLives.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestContainerLives = ContainerLives.TestCase
