"""The reconciler against the fake engine without threads, sockets or waiting: time is a number that a test moves.

Orders are carried out at once, or not, as a test says.  Every desired state that is applied is kept in ``applied``.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from support.fake_docker import Event, FakeDocker

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container import read_inspect, read_network, read_summary
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.decide.scope import Scope
from fastroute.controller.decide.swarm import member_of, view_of
from fastroute.controller.desired import Desired, ProbeTarget
from fastroute.controller.events import ControllerEvents
from fastroute.controller.observe.docker_source import read_event
from fastroute.router.runtime.logs import timestamp


def middle(low: float, high: float) -> float:
    """Chance that is none."""
    return (low + high) / 2


class Simulation:
    """One controller and one engine.

    ``lost`` events are published but not told; ``late``: answers wait in ``answers`` until :meth:`answer`; ``failing``
    calls (``list``, ``inspect``) fail, an ``empty`` list succeeds and shows nothing.  Probes find what ``accepts``
    says, and that the ids in ``closed`` refuse.
    """

    def __init__(self, docker: FakeDocker | None = None, resync: float = 30.0) -> None:
        self.docker = docker or FakeDocker(Path("/nowhere"))
        self.docker.tamper = self._publish
        self.docker.clock = lambda: time.time_ns() + int(self.now * 1e9)
        self.now = 1000.0
        self.lost = False
        self.failing: set[str] = set()
        self.late = False
        self.answers: deque[m.Message] = deque()
        self.accepts = True
        self.closed: set[str] = set()
        self.applied: list[Desired] = []
        self.orders: list[m.Order] = []
        self._pending: list[m.Order] = []
        self.probes: dict[ProbeTarget, None] = {}
        self.events: deque[Event] = deque()
        self.resync = resync
        self.kept: object = None
        self.log = ControllerEvents()
        self.reconciler = Reconciler(Scope(), resync, middle)

    def connect(self, own_id: str = "") -> None:
        """Subscribe as the reader thread does: the past first."""
        now_ns = self.docker.clock()
        for event in self.docker.history:
            self.tell(read_event(event, now_ns))
        engine = m.Engine("FAKE", "20.10", now_ns, own_id, member_of(self.docker.answer("/info")))
        self.tell(m.Connected(engine, source="FAKE"))
        self.settle()

    def restart_controller(self) -> None:
        """A new controller that knows only what the last one kept, on the same engine."""
        self.reconciler = Reconciler(Scope(), self.resync, middle, kept=self.kept)
        self.log = ControllerEvents()
        self.probes.clear()
        self.events.clear()
        self.answers.clear()
        self._pending.clear()
        self.applied.clear()
        self.connect()

    def tell(self, message: m.Message | None) -> None:
        """One message, without a decision yet."""
        if message is not None:
            self.reconciler.handle(message, self.now)

    def settle(self) -> None:
        """Tell all events, decide and carry out until nothing is left to do."""
        for _ in range(1000):
            while self.events:
                self._tell_event(self.events.popleft())
            orders = [*self._pending, *self.reconciler.decide(self.now, timestamp(time.time()))]
            self._pending.clear()
            if not orders:
                return
            for order in orders:
                self.carry_out(order)
        raise AssertionError(f"no end of orders: {orders}")

    def _tell_event(self, event: Event) -> None:
        self.tell(m.SwarmHappened() if event["Type"] == "service" else read_event(event, None))

    def decide(self) -> None:
        """Tell all events and decide, but put off everything except applying."""
        while self.events:
            self.tell(read_event(self.events.popleft(), None))
        for order in self.reconciler.decide(self.now, timestamp(time.time())):
            if isinstance(order, m.Apply | m.WriteEvent):
                self.carry_out(order)
            else:
                self._pending.append(order)

    def answer(self) -> None:
        """What Docker was asked for while it was slow arrives, as it was then."""
        while self.answers:
            self.tell(self.answers.popleft())

    def _answer(self, message: m.Message) -> None:
        if self.late:
            self.answers.append(message)
        else:
            self.tell(message)

    def pass_time(self, seconds: float) -> None:
        """Let time pass and do what falls due, when it does."""
        until = self.now + seconds
        while (due := self.reconciler.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.settle()
            for target in list(self.probes):
                self._probe(target)
            self.settle()
        self.now = until
        for target in list(self.probes):
            self._probe(target)
        self.settle()

    def carry_out(self, order: m.Order) -> None:
        """What the edges would do."""
        self.orders.append(order)
        match order:
            case m.Apply():
                self.applied.append(order.routes)
            case m.Inspect():
                self._answer(self._inspect(order))
            case m.TakeList():
                self._answer(self._list(order))
            case m.TakeSwarm():
                self._answer(m.SwarmTold(view_of(self.docker.services, self.docker.nodes, "fastroute")))
            case m.StartProbe():
                self.probes[order.target] = None
                self._probe(order.target)
            case m.StopProbe():
                self.probes.pop(order.target, None)
            case m.Keep():
                self.kept = order.state
            case m.WriteEvent():
                self.log.write(order.kind, order.text, order.container, order.id, order.key)
            case m.AnswerOperator():
                order.to(order.what)

    def steer(self, target: str, drain: bool | None = None, weight: int | None = None) -> m.OverrideAnswer:
        """What an operator wants, and the answer."""
        answers: list[m.OverrideAnswer] = []
        self.tell(m.OverrideRequest(target, drain, weight, answers.append))
        self.settle()
        return answers[0]

    @property
    def nodes(self) -> set[tuple[str, str]]:
        """(key, container) of all nodes that are routed to."""
        return {(r.entry.key, r.container) for r in self.reconciler.desired.values() if r.entry.address}

    @property
    def keys(self) -> set[str]:
        """All keys that routers are told."""
        return {key for key, _, _ in self.reconciler.desired}

    def state(self, name: str) -> tuple[str, str]:
        """State and reason of the container called ``name``."""
        views = self.reconciler.statuses.views().values()
        return next(((view.offer.state, view.reason) for view in views if view.offer.name == name), ("gone", ""))

    @property
    def drift(self) -> dict[str, int]:
        """Differences that no event had told, by kind."""
        return dict(self.reconciler.stats.drift)

    def _publish(self, event: Event) -> list[tuple[float, Event]]:
        if not self.lost:
            self.events.append(event)
        return []

    def _probe(self, target: ProbeTarget) -> None:
        accepts = self.accepts and target.owner.partition("@")[0] not in self.closed
        if accepts:
            self.probes.pop(target, None)
        self.tell(m.Probed(target, "" if accepts else "refused"))

    def _inspect(self, order: m.Inspect) -> m.Message:
        if "inspect" in self.failing:
            return m.InspectFailed(order.id, order.version, "as told")
        answer = self.docker.answer(f"/containers/{order.id}/json")
        return m.Inspected(order.id, order.version, read_inspect(answer) if answer else None)

    def _list(self, order: m.TakeList) -> m.Message:
        if "list" in self.failing:
            return m.ListFailed(order.ticket, "as told")
        rows = [] if "empty" in self.failing else self.docker.answer("/containers/json")
        summaries = tuple(map(read_summary, rows))
        networks = {row["Name"]: read_network(row) for row in self.docker.answer("/networks")}
        return m.Listed(order.ticket, summaries, networks)
