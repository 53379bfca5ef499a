"""The same random lives as in test_container_lives, over the real edge: HTTP, threads, streams that break.

Few runs, as time is real here.  Whoever was seen to leave must not come back in any applied state before it serves
again; after each quiet moment the routes are exactly those of the containers that serve.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

import pytest
from support.fake_container import FakeContainer
from support.fake_docker import REPLAYED, Event, FakeDocker
from support.waiting import wait_for
from support.watching import Controller

from fastroute.controller.decide import reconciler, tracked
from fastroute.controller.observe import docker_source

# The SDK leaves the socket of a connection that is refused to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}
CONTAINERS, ROUNDS, STEPS = 8, 2, 12
TROUBLES = ("fail list", "break list", "fail inspect", "hang", "cut", "restart", "flood")
#: With nothing in the way a removal takes milliseconds; this much even on a machine that does ten other things.
SOON = 5.0
#: Seconds by which events may be late.
LATEST = 0.05


class Lives:
    """The containers, and since which applied state (an index) each of them must not be routed."""

    def __init__(self, docker: FakeDocker, controller: Controller, chance: random.Random) -> None:
        self.docker, self.controller, self.chance = docker, controller, chance
        self.all = [docker.create(f"c{number}", LABELS, health=chance.choice(["", "healthy"]))
                    for number in range(CONTAINERS)]  # fmt: skip
        self.stopping: set[str] = set()
        self.left: dict[str, int] = {}

    @property
    def serving(self) -> set[str]:
        return {
            one.name
            for one in self.all
            if one.status == "running" and one.health in ("", "healthy") and one.name not in self.stopping
        }

    def step(self) -> FakeContainer:
        """Something happens to one container."""
        one = self.chance.choice(self.all)
        if one.status in ("created", "exited"):
            self._allow(one)
            self.stopping.discard(one.name)
            self.docker.start_container(one)
            if one.health:
                self.docker.set_health(one, "healthy")
            return one
        if one.status == "paused":
            self._allow(one)
            self.docker.unpause(one)
            return one
        what = self.chance.choice(["stop", "kill", "die", "pause", "sicken"])
        if what in ("stop", "kill"):
            self.stopping.add(one.name)
            self.docker.kill(one, 15 if what == "stop" else 9)
        elif what == "pause":
            self.docker.pause(one)
        elif what == "sicken" and one.health:
            self._allow(one)
            self.docker.set_health(one, "unhealthy" if one.health == "healthy" else "healthy")
        else:
            self.stopping.discard(one.name)
            self.docker.die(one)
        return one

    def settle(self) -> None:
        """A quiet moment: stops end, and the routes are what they should be."""
        for one in self.all:
            if one.name in self.stopping:
                if one.status == "paused":
                    self.docker.unpause(one)
                self.docker.die(one)
            if one.status == "running" and one.health == "starting":
                self._allow(one)
                self.docker.set_health(one, "healthy")
        self.stopping.clear()
        want, late = self.serving, time.monotonic() + LATEST
        # Where events were lost, equal by chance proves nothing: an inspect from before may be on its way.
        wait_for(lambda: self._compared_since(late), lambda: "no comparison")
        wait_for(lambda: self.controller.nodes == want, lambda: f"{self.controller.nodes}, not {want}")
        for one in self.all:
            if one.name not in want:
                self.left.setdefault(one.name, len(self.controller.applied))

    def _compared_since(self, moment: float) -> bool:
        stats = self.controller.reconciler.stats
        return (stats.last_sync or 0.0) - stats.sync_seconds > moment

    def follow(self, one: FakeContainer) -> None:
        """With nothing in the way its route comes, or goes and stays away."""
        serves = one.name in self.serving
        wait_for(lambda: (one.name in self.controller.nodes) == serves, lambda: f"{one.name} serves: {serves}", SOON)
        if not serves:
            self.left.setdefault(one.name, len(self.controller.applied))

    def _allow(self, one: FakeContainer) -> None:
        self._look(one.name)
        self.left.pop(one.name, None)

    def _look(self, name: str) -> None:
        if name in self.left:
            for desired in self.controller.applied[self.left[name] :]:
                assert all(not route.entry.address for route in desired.values() if route.container == name), name

    def look(self) -> None:
        """Nobody who had left was routed since."""
        for name in self.left:
            self._look(name)


def tampered(chance: random.Random) -> object:
    """Events are lost, late (so out of order), and told twice."""

    def tamper(event: Event) -> list[tuple[float, Event]]:
        what = chance.random()
        if what < 0.15:
            return []
        if what < 0.4:
            return [(chance.uniform(0.001, LATEST), event)]
        return [(0.0, event), (0.01, event)] if what < 0.5 else [(0.0, event)]

    return tamper


def disturb(docker: FakeDocker, what: str, faults: ExitStack, chance: random.Random) -> None:
    """Something goes wrong, for a moment or until ``faults`` are undone."""
    match what:
        case "fail list":
            faults.enter_context(docker.fail("^/containers/json"))
        case "break list":
            broken = docker.create(f"broken-{len(docker.containers)}", {})
            broken.broken = True
            faults.callback(docker.remove, broken)
        case "fail inspect":
            faults.enter_context(docker.fail("^/containers/[^/]+/json"))
        case "hang":
            faults.enter_context(docker.hang(f"/containers/{chance.choice([*docker.containers.values()]).id}/json"))
        case "cut":
            docker.cut()
        case "restart":
            docker.stop()
            docker.begin_health_again()
            docker.start()
        case "flood":
            docker.run_health_checks(chance.choice([*docker.containers.values()]), REPLAYED)
            docker.cut()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_lives_over_a_real_connection(docker: FakeDocker, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_source, "SILENCE_TIMEOUT", 1.0)
    monkeypatch.setattr(docker_source, "CALL_TIMEOUT", 1)
    monkeypatch.setattr(reconciler, "LIST_RETRY_DELAY", 0.1)
    # Crash loops have tests of their own.
    monkeypatch.setattr(tracked, "CRASH_LIMIT", 1_000_000)
    chance, controller = random.Random(seed), Controller(docker, resync=0.5)
    as_it_is = docker.tamper
    try:
        lives = Lives(docker, controller, chance)
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                lives.follow(lives.step())
            lives.settle()
            lives.look()
            docker.tamper = tampered(chance)  # type: ignore[assignment]
            with ExitStack() as faults:
                troubles = chance.sample(TROUBLES, 3)
                for at in range(STEPS):
                    lives.step()
                    if at % (STEPS // 3) == 0:
                        disturb(docker, troubles.pop(), faults, chance)
            docker.tamper = as_it_is
            lives.settle()
            lives.look()
    finally:
        controller.stop()
