"""The controller's mind: messages in, orders out.  No thread, no clock, no I/O; ``now`` is monotonic seconds.

Rules, in the order in which they matter:

* An event only marks a container as dirty; what it means is decided from one inspect.  Some events also raise a *doubt*
  that takes the routes at once, until an inspect that was asked for later says otherwise; a stop signal takes them for
  good (see :mod:`.record`).  So removal never waits for Docker, and addition always does.
* Every ``resync`` seconds everything is compared.  What events should have told is counted as drift, once it is clear
  that no event is merely late.  What happened after the list was asked for is newer than the list.
* A list that fails says nothing; one that lacks a container is a reason to look: gone is what inspect does not find.
* Nothing is applied before everything has been looked at once: a new instance that announced half of the containers
  would take the other half from the routers.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping

from fastroute.controller import messages as m
from fastroute.controller.address import Surroundings
from fastroute.controller.assembly import Assembly
from fastroute.controller.board import Board
from fastroute.controller.container import Network
from fastroute.controller.desired import Desired, Offer, Target
from fastroute.controller.drift import Drift
from fastroute.controller.journal import Journal
from fastroute.controller.labels import parse_labels
from fastroute.controller.probing import Probing
from fastroute.controller.record import Kill, Record
from fastroute.controller.records import Records
from fastroute.controller.scope import Scope
from fastroute.controller.stats import Stats
from fastroute.controller.verdict import judge

#: Share of the interval between comparisons that is chance; seconds until a list that failed is asked for again.
JITTER = 0.15
LIST_RETRY = 2.0
#: Lists asked for between two comparisons, because a network is new, are at least so many seconds apart.
LIST_PAUSE = 1.0
#: The first apply waits so many seconds for probes, and for an inspect until it has failed so often.
FIRST_PROBES = 2.0
HOPELESS = 3
#: An address that Docker is still handing out: look again after so many seconds, doubling, so many times.
LOOK_AGAIN, LOOKS = 0.05, 8


class Reconciler:
    """One engine's containers, and what should be routed to them.  Other threads may read what has no underscore.

    ``url`` is the engine's, said in notes if it is one of ``several``; ``source`` makes its name for the routers.
    """

    def __init__(
        self,
        scope: Scope,
        resync: float,
        journal: Journal,
        *,
        url: str = "",
        several: bool = False,
        source: Callable[[m.Engine], str] = lambda engine: engine.id,
    ) -> None:
        self._scope, self._resync, self._journal = scope, resync, journal
        self._name_source, self._at = source, f" at {url}" if several else ""
        self.url = url
        #: Who this engine is to the routers; empty until it was reached.
        self.source = ""
        self.stats = Stats()
        self.engine: m.Engine | None = None
        self.desired: Desired = {}
        self.board = Board(journal)
        #: True once everything was looked at and told for the first time.
        self.applied = False
        self._records = Records()
        self._around = Surroundings(scope.network)
        self._drift, self._probing, self._assembly = Drift(), Probing(), Assembly()
        self._timers: list[tuple[float, str]] = []
        # The list: when the next one is due, when and at which clock the running one was asked for.
        self._next_list: float | None = None
        self._listing = False
        self._list_asked, self._list_ticket = 0.0, -1
        self._first_list = True
        self._hold_until: float | None = None
        self._unapplied: set[str] = set()

    # What is told.

    def handle(self, message: m.Message, now: float) -> None:
        """Take in one message.  Nothing is decided before :meth:`decide`."""
        match message:
            case m.Happened():
                self._happened(message, now)
            case m.Inspected():
                self._inspected(message, now)
            case m.InspectFailed():
                self._inspect_failed(message, now)
            case m.Probed():
                self._probed(message)
            case m.Listed():
                self._listed(message, now)
            case m.ListFailed():
                self._list_failed(message, now)
            case m.Connected():
                self._connected(message.engine, now)
            case m.Disconnected():
                self._disconnected(message.reason)
            case m.Resync():
                self._next_list = now
            case m.Configure():
                self._configure(message, now)

    def _connected(self, engine: m.Engine, now: float) -> None:
        self.engine = engine
        self.source = self.source or self._name_source(engine)
        self.stats.connected, self.stats.trouble, self.stats.connects = True, "", self.stats.connects + 1
        self._listing, self._first_list, self._next_list = False, True, now
        self._drift.clear()
        for record in self._records:
            record.retry_at = 0.0
        if engine.own_id and self._records.get(engine.own_id) is None:
            self._records.create(engine.own_id)
        self._journal.note("docker", f"connected to Docker {engine.version}{self._at}")

    def _disconnected(self, reason: str) -> None:
        if self.stats.connected or not self.stats.trouble:
            self._journal.note("docker", f"no connection to Docker{self._at}, everything stays as it is: {reason}")
        self.stats.connected, self.stats.trouble, self._listing = False, reason, False

    def _configure(self, message: m.Configure, now: float) -> None:
        """Everything is read anew; a list that was asked for before knows only what was ours then."""
        self._scope, self._resync = message.scope, message.resync
        self._listing, self._first_list, self._next_list = False, True, now
        for record in self._records:
            self._read_labels(record)
            self._records.stale.add(record.id)
        self._surround(self._around.networks)

    def _read_labels(self, record: Record) -> None:
        if record.container:
            record.labels = parse_labels(record.container.labels, record.container.ports, self._scope.prefix)

    def _happened(self, event: m.Happened, now: float) -> None:
        if event.live:
            self.stats.last_event = now
            self.stats.events[event.action] += 1
        self._drift.told(event.id)
        record = self._records.get(event.id)
        if record is None and not (self._scope.relevant(event.labels) and (event.live or event.action == "kill")):
            return
        if event.live:
            signal = f" with signal {event.signal}" if event.signal else ""
            self._journal.note("event", event.action + signal, self._name(event.id), event.id)
        if event.action == "destroy" and event.live:
            self._records.forget(event.id)
            return
        record = record or self._records.create(event.id)
        record.version += 1
        record.received = now if event.live else record.received
        self._records.touch(record)
        if event.action == "kill":
            record.kill(Kill(event.time_ns, event.signal, now - event.age))
            self._watch_stop(record)
        elif event.live:
            record.happened(event.action, event.network, event.time_ns)
            # Docker connects a container before it starts it, and answers no inspect until it has.
            if not (event.action == "connect" and record.container and not record.container.running):
                self._records.mark_dirty(record)

    def _inspected(self, message: m.Inspected, now: float) -> None:
        record = self._records.get(message.id)
        if record is None or not record.inspecting:
            return
        if message.container is None:
            self._records.forget(message.id)
            self._drift.looked(message.id, None)
            return
        record = self._records.take(record, message.container, message.version)
        self._read_labels(record)
        self._watch_stop(record)
        known = self._around.networks
        if any(end.id and end.network not in known for end in message.container.endpoints):
            soonest = max(now, self._list_asked + LIST_PAUSE)
            self._next_list = min(soonest, self._next_list or soonest)

    def _inspect_failed(self, message: m.InspectFailed, now: float) -> None:
        record = self._records.get(message.id)
        if record is None or not record.inspecting:
            return
        record.fail(now)
        self._records.mark_dirty(record)
        heapq.heappush(self._timers, (record.retry_at, record.id))
        if record.failures == HOPELESS:
            text = f"cannot be inspected, asked again until it can: {message.reason}"
            self._journal.note("warning", text, self._name(record.id), record.id)

    def _probed(self, message: m.Probed) -> None:
        record = self._records.get(self._probing.tried(message.target))
        if record and not message.problem:
            record.proven |= {message.target}
            self._records.stale.add(record.id)

    def _listed(self, answer: m.Listed, now: float) -> None:
        if not self._listing or answer.ticket != self._list_ticket:
            return
        self._listing = False
        self.stats.last_sync, self.stats.sync_seconds = now, now - self._list_asked
        self._next_list = now + self._resync * random.uniform(1 - JITTER, 1 + JITTER)
        if answer.networks != self._around.networks:
            self._surround(answer.networks)
        summaries = {summary.id: summary for summary in answer.summaries}
        for record in self._records:
            summary = summaries.pop(record.id, None)
            if record.container is None or record.inspecting or record.touched > answer.ticket:
                continue
            if summary is None:
                self._suspect("gone", record, now)
                self._records.mark_dirty(record)
            elif summary.fingerprint not in record.seen:
                self._suspect("changed", record, now)
                self._records.mark_dirty(record)
                record.seen |= {summary.fingerprint}
        for summary in summaries.values():
            if self._scope.relevant(summary.labels):
                self._suspect("appeared", self._records.create(summary.id), now)
        self._first_list = False

    def _suspect(self, kind: str, record: Record, now: float) -> None:
        if not self._first_list:
            self._drift.suspect(kind, record.id, record.offer, now)

    def _list_failed(self, answer: m.ListFailed, now: float) -> None:
        if self._listing and answer.ticket == self._list_ticket:
            self._listing = False
            self.stats.list_failures += 1
            self._next_list = now + LIST_RETRY * random.uniform(1 - JITTER, 1 + JITTER)
            self._journal.note("docker", f"list failed{self._at}, nothing changes: {answer.reason}")

    # What is decided.

    def decide(self, now: float) -> list[m.Order]:
        """The orders that follow from all that was told.  Routes come first: nothing may hold up a removal."""
        self._due(now)
        self._look_around()
        changed, received = self._judge_stale(now)
        orders = [order for id in changed for order in self._probing.want(id, self._targets(id))]
        self._unapplied.update(changed)
        if not self._holds(now) and (self._unapplied or not self.applied):
            orders[:0] = self._apply(self._unapplied, received)
            self._unapplied = set()
        return [*orders, *self._looks(now), *self._reopen(now)]

    def next_due(self) -> float | None:
        """When :meth:`decide` has to be called again if nothing is told until then (monotonic seconds)."""
        times = [self._timers[0][0]] if self._timers else []
        # Without Docker, or with a list under way, another list can only wait for a message.
        next_list = None if self._listing or not self.stats.connected else self._next_list
        times += [at for at in (next_list, self._drift.due, self._hold_until) if at is not None]
        return min(times, default=None)

    def _due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            record = self._records.get(heapq.heappop(self._timers)[1])
            if record is None:
                continue
            self._records.stale.add(record.id)
            record.outlive(now)
            if record.offer and record.offer.soon:
                self._records.mark_dirty(record)

    def _watch_stop(self, record: Record) -> None:
        if until := record.stop_until():
            heapq.heappush(self._timers, (until, record.id))

    def _look_around(self) -> None:
        """A router (or we ourselves) may have moved."""
        own = self.engine.own_id if self.engine else ""
        for id in self._records.stale:
            record = self._records.get(id)
            labels = record.container.labels if record and record.container else {}
            if id == own or self._scope.router(labels):
                self._surround(self._around.networks)
                return

    def _surround(self, networks: Mapping[str, Network]) -> None:
        own = self._records.get(self.engine.own_id) if self.engine else None
        routers = [one.container for one in self._records if one.container and self._scope.router(one.container.labels)]
        around = self._scope.surroundings(routers, own.container if own else None, networks, self._around)
        if around != self._around:
            self._around = around
            self._records.stale.update(record.id for record in self._records)

    def _judge_stale(self, now: float) -> tuple[list[str], float]:
        """Judge what may have changed: whose offers did, and when the oldest event that led there came in."""
        changed, received = [], 0.0
        stale, self._records.stale = sorted(self._records.stale), set()
        for id in stale:
            record = self._records.get(id)
            offer = self._judge(record, now) if record else None
            if self.board.show(id, offer):
                changed.append(id)
            if record is None:
                continue
            record.offer = offer
            if record.received and id in changed[-1:]:
                received = min(received or record.received, record.received)
            if not record.dirty:
                record.received = 0.0
                self._drift.looked(id, offer)
        return changed, received

    def _judge(self, record: Record, now: float) -> Offer | None:
        container = record.container
        if container is None or not self._scope.labelled(container.labels):
            return None
        about = record.circumstances(now)
        offer = judge(container, record.labels, about, self._around, self._records.lookup)
        if about.stop == "outlived" and any(route.entry.address for route in offer.routes):
            record.survived()
            offer = judge(container, record.labels, record.circumstances(now), self._around, self._records.lookup)
        if offer.soon and not record.dirty and record.looks < LOOKS:
            heapq.heappush(self._timers, (now + LOOK_AGAIN * 2**record.looks, record.id))
            record.looks += 1
        return offer

    def _targets(self, id: str) -> tuple[Target, ...]:
        record = self._records.get(id)
        return record.offer.targets if record and record.offer else ()

    def _holds(self, now: float) -> bool:
        """True while the first apply waits: for the list, for a look at everything, for a try of every probe."""
        if self.applied:
            return False
        unseen = (self._records.get(id) for id in self._records.dirty)
        if self._first_list or any(one and not one.container and one.failures < HOPELESS for one in unseen):
            self._hold_until = None
            return True
        if self._hold_until is None:
            self._hold_until = now + FIRST_PROBES
        return self._probing.untried and now < self._hold_until

    def _apply(self, changed: Iterable[str], received: float) -> list[m.Order]:
        steps = self._assembly.update(
            {id: record.offer if (record := self._records.get(id)) else None for id in changed}
        )
        self.board.warn(self._assembly.warnings)
        for id in sorted(self._assembly.displaced):
            record = self._records.get(id)
            if record and not record.dirty:
                self._records.mark_dirty(record)
        self.board.tell(steps)
        self.desired, known = self._assembly.routes.copy(), self.applied
        self.applied, self._hold_until = True, None
        return [m.Apply(self.desired, received)] if steps or not known else []

    def _looks(self, now: float) -> list[m.Order]:
        if not self.stats.connected:
            return []
        orders: list[m.Order] = []
        if self._next_list is not None and self._next_list <= now and not self._listing:
            self._listing, self._next_list = True, None
            self._list_asked, self._list_ticket = now, self._records.clock
            orders.append(m.TakeList(self._list_ticket))
        for id in sorted(self._records.dirty):
            record = self._records.get(id)
            if record and record.dirty and not record.inspecting and record.retry_at <= now:
                record.inspecting = True
                orders.append(m.Inspect(id, record.version))
        return orders

    def _reopen(self, now: float) -> list[m.Order]:
        missed = self._drift.certain(now)
        for kind, id in missed:
            self.stats.drift[kind] += 1
            self._journal.note("drift", f"{kind}, and no event had told so", self._name(id), id)
        return [m.Reopen("events were lost")] if missed else []

    def _name(self, id: str) -> str:
        record = self._records.get(id)
        return record.container.name if record and record.container else id[:12]
