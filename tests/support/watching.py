"""The controller's loop over HTTP against the fake engine, in this process: what it applies is kept."""

from __future__ import annotations

import random
import threading

from support.fake_docker import FakeDocker
from support.waiting import wait_for

from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.decide.scope import Scope
from fastroute.controller.desired import Desired, RouteDiff
from fastroute.controller.events import ControllerEvents
from fastroute.controller.loop import DockerEngine, Loop


class Controller:
    """A loop in a thread; ``applied`` are all states that its sink was given."""

    def __init__(self, docker: FakeDocker, resync: float = 30.0) -> None:
        self.applied: list[Desired] = []
        self.events = ControllerEvents()
        self.reconciler = Reconciler(Scope(), resync, random.uniform)
        self.seconds: list[float] = []
        self.loop = Loop(
            self.reconciler,
            DockerEngine(docker.url),
            self,
            self.events,
            lambda seconds, op: self.seconds.append(seconds),
        )
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        self.applied.append(desired)

    def status(self) -> dict[str, object]:
        return {}

    def stop(self) -> None:
        self.loop.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def nodes(self) -> set[str]:
        return (
            {route.container for route in self.applied[-1].values() if route.entry.address} if self.applied else set()
        )

    def until_nodes(self, *names: str) -> None:
        wait_for(lambda: bool(self.applied) and self.nodes == set(names), lambda: f"nodes {self.nodes}, not {names}")
