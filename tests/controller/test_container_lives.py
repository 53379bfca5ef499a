"""Random lives of containers under a stream of events that loses, repeats and reorders, and a Docker that fails.

Always: once every event is told, no route leads to a container that cannot serve, unless an event about it was lost.
After a quiet moment (a comparison with a Docker that answers): the routes are exactly those of the containers that run.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from support.fake_docker import FakeContainer
from support.simulated_engine import Simulation

from fastroute.controller import messages as m

KEYS = ("a.com", "b.com", "*.c.com/x")


class ContainerLives(RuleBasedStateMachine):
    """The model is the fake engine itself, plus ``stopping``: who has got a stop signal and has not ended."""

    containers = Bundle("containers")

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation()
        self.sim.connect()
        self.count = 0
        self.connected = True
        self.stopping: set[str] = set()
        self.unsure: set[str] = set()

    def _about(self, one: FakeContainer) -> None:
        """Something happens to ``one``; nobody can know if the event is lost or the stream is away."""
        if self.sim.lost or not self.connected:
            self.unsure.add(one.id)

    @rule(target=containers, key=st.sampled_from(KEYS), started=st.booleans(), health=st.sampled_from(["", "healthy"]))
    def create(self, key: str, started: bool, health: str) -> FakeContainer:
        self.count += 1
        labels = {"fastroute.key": key, "fastroute.probe": "none"}
        one = self.sim.docker.create(f"c{self.count}", labels, health=health)
        self._about(one)
        if started:
            self.sim.docker.start_container(one)
        return one

    @rule(one=containers, address=st.sampled_from(["", "172.99.9.1", "172.99.9.2"]))
    def start(self, one: FakeContainer, address: str) -> None:
        held = {at for other in self.sim.docker.containers.values() for at in other.networks.values()}
        if one.status in ("created", "exited"):
            self._about(one)
            self.sim.docker.start_container(one, "" if address in held else address)
            self.stopping.discard(one.id)

    @rule(one=containers, signal=st.sampled_from([15, 9, 1]))
    def kill(self, one: FakeContainer, signal: int) -> None:
        if one.status == "running":
            if signal != 1:
                self._about(one)
                self.stopping.add(one.id)
            self.sim.docker.kill(one, signal)

    @rule(one=containers)
    def die(self, one: FakeContainer) -> None:
        if one.status == "running":
            self._about(one)
            self.sim.docker.die(one)
            self.stopping.discard(one.id)

    @rule(one=containers)
    def pause_or_unpause(self, one: FakeContainer) -> None:
        if one.status in ("running", "paused"):
            self._about(one)
            (self.sim.docker.pause if one.status == "running" else self.sim.docker.unpause)(one)

    @rule(one=containers, health=st.sampled_from(["healthy", "unhealthy"]))
    def change_health(self, one: FakeContainer, health: str) -> None:
        if one.health and one.status == "running":
            self._about(one)
            self.sim.docker.set_health(one, health)

    @rule(one=consumes(containers))
    def remove(self, one: FakeContainer) -> None:
        self._about(one)
        if one.status in ("running", "paused"):
            self.sim.docker.die(one)
        self.sim.docker.remove(one)
        self.stopping.discard(one.id)

    @rule(lost=st.booleans())
    def lose_events(self, lost: bool) -> None:
        self.sim.lost = lost

    @rule(random=st.randoms(use_true_random=False))
    def reorder_and_repeat_events(self, random) -> None:
        events = [*self.sim.events, *random.sample(list(self.sim.events), min(2, len(self.sim.events)))]
        random.shuffle(events)
        self.sim.events.clear()
        self.sim.events.extend(events)

    @rule(what=st.sets(st.sampled_from(["list", "inspect"])))
    def fail_calls(self, what: set[str]) -> None:
        self.sim.failing = what

    @rule()
    def cut(self) -> None:
        self.connected = False
        self.sim.events.clear()
        self.sim.tell(m.Disconnected("as told"))
        self.unsure.update(one.id for one in self.sim.docker.containers.values())

    @rule()
    def come_back(self) -> None:
        self.sim.events.clear()
        self.sim.connect()
        self.connected = True

    @rule()
    def restart_controller(self) -> None:
        self.sim.restart_controller()
        self.connected = True
        self.unsure.clear()

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.sim.pass_time(seconds)

    @rule()
    def quiet(self) -> None:
        for one in [one for one in self.sim.docker.containers.values() if one.id in self.stopping]:
            if one.status == "paused":
                self.sim.docker.unpause(one)
            self.die(one)
        self.sim.lost, self.sim.failing = False, set()
        if not self.connected:
            self.come_back()
        self.sim.settle()
        self.sim.pass_time(70)
        self.unsure.clear()
        expected = {(one.labels["fastroute.key"], one.name) for one in self._serving()}
        assert self.sim.nodes == expected
        assert self.sim.keys == {one.labels["fastroute.key"] for one in self.sim.docker.containers.values()}

    @invariant()
    def no_route_leads_to_a_container_that_cannot_serve(self) -> None:
        if not self.connected:
            return
        self.sim.decide()
        routed = {owner.partition("@")[0] for _, at, owner in self.sim.reconciler.desired if at}
        assert routed <= {one.id for one in self._serving()} | self.unsure
        addresses = [at for _, at, _ in self.sim.reconciler.desired if at]
        assert len(addresses) == len(set(addresses))

    def _serving(self) -> list[FakeContainer]:
        return [
            one
            for one in self.sim.docker.containers.values()
            if one.status == "running" and one.health in ("", "healthy") and one.id not in self.stopping
        ]


ContainerLives.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestContainerLives = ContainerLives.TestCase
