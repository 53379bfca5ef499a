"""The controller's mind: messages in, orders out.  Pure: what it wants done, written or said is an order, and time and
chance come in as arguments.  ``now`` is monotonic seconds, ``timestamp`` the same moment as people read it.

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

from collections.abc import Callable

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.drift import Drift
from fastroute.controller.decide.listing import RETRY, Listing
from fastroute.controller.decide.offers import Offers
from fastroute.controller.decide.operators import Operators
from fastroute.controller.decide.probing import Probing
from fastroute.controller.decide.record import Kill, Record
from fastroute.controller.decide.records import Records
from fastroute.controller.decide.scope import Scope
from fastroute.controller.decide.stats import Stats
from fastroute.controller.decide.timers import Timers
from fastroute.controller.decide.verdict import judge
from fastroute.controller.decide.whereabouts import Whereabouts
from fastroute.controller.desired import Desired, Offer, Target
from fastroute.controller.views import Facts

#: The first apply waits so many seconds for probes, and for an inspect until it has failed so often.
FIRST_PROBES = 2.0
HOPELESS = 3
#: An address that Docker is still handing out: look again after so many seconds, doubling, so many times.
LOOK_AGAIN, LOOKS = 0.05, 8
#: A probe that fails for so many seconds is said to.
PATIENCE = 1.0


class Reconciler:
    """One engine's containers, and what should be routed to them.  Other threads may read what has no underscore.

    * ``resync``: seconds between two comparisons; ``uniform`` draws a number between two others, and varies them.
    * ``url``: of the engine; it stands in the event log if the engine is one of ``several``.
    * ``exclusive``: a key belongs to one compose project.
    * ``kept``: what the last :class:`~.messages.Keep` order of the controller's last life had in it.
    """

    def __init__(
        self,
        scope: Scope,
        resync: float,
        uniform: Callable[[float, float], float],
        *,
        url: str = "",
        several: bool = False,
        exclusive: bool = False,
        kept: object = None,
    ) -> None:
        self._scope, self._resync = scope, resync
        self._at = f" at {url}" if several else ""
        #: What the event log should say of the messages taken in since the last decision.
        self._events: list[m.WriteEvent] = []
        self._write = self._events.append
        self.url = url
        #: Who this engine is to the routers; empty until it was reached.
        self.source = ""
        self.stats = Stats()
        self.engine: m.Engine | None = None
        self.desired: Desired = {}
        #: True once everything was looked at and told for the first time.
        self.applied = False
        self._records = Records()
        self._whereabouts = Whereabouts(scope, self._records)
        self._drift, self._probing = Drift(), Probing()
        self._offers = Offers(self._write, exclusive=exclusive)
        self.board = self._offers.board
        self._listing, self._operators = Listing(uniform), Operators(self._write, kept)
        self._own_id = ""
        self._timers = Timers()
        self._hold_until: float | None = None

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
                self._probed(message, now)
            case m.Listed():
                self._listed(message, now)
            case m.ListFailed():
                self._list_failed(message, now)
            case m.Connected():
                self._connected(message, now)
            case m.Disconnected():
                self._disconnected(message.reason)
            case m.Resync():
                self._listing.want(now)
            case m.Configure():
                self._configure(message, now)
            case m.Steer():
                self._operators.steer(message, self._records)

    def _connected(self, message: m.Connected, now: float) -> None:
        engine = self.engine = message.engine
        self.source = self.source or message.source
        self.stats.connected, self.stats.trouble, self.stats.connects = True, "", self.stats.connects + 1
        self._listing.begin(now)
        self._drift.clear()
        for record in self._records:
            record.retry_at = 0.0
        self._own_id = engine.own_id
        if engine.own_id and self._records.get(engine.own_id) is None:
            self._records.create(engine.own_id)
        self._write(m.WriteEvent("docker", f"connected to Docker {engine.version}{self._at}"))

    def _disconnected(self, reason: str) -> None:
        if self.stats.connected or not self.stats.trouble:
            self._write(
                m.WriteEvent("docker", f"no connection to Docker{self._at}, everything stays as it is: {reason}")
            )
        self.stats.connected, self.stats.trouble = False, reason
        self._listing.interrupt()

    def _configure(self, message: m.Configure, now: float) -> None:
        """Everything is read anew; a list that was asked for before knows only what was ours then."""
        self._scope = Scope.of(message.settings, self._scope.published)
        self._resync = message.settings.resync
        self._listing.begin(now)
        for record in self._records:
            record.read_labels(self._scope.prefix)
            self._records.judge_again(record.id, "configuration")
        self._whereabouts.survey(self._scope, self._own_id, self._whereabouts.around.networks)

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
            self._write(m.WriteEvent("event", event.action + signal, self._records.name_of(event.id), event.id))
        if event.action == "destroy" and event.live:
            self._forget(event.id)
            return
        record = record or self._records.create(event.id)
        record.version += 1
        record.cause = f"event {event.action}" + (f" {event.signal}" if event.signal else "")
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
            self._forget(message.id)
            self._drift.missing(message.id)
            return
        record = self._records.take(record, message.container, message.version, now)
        record.read_labels(self._scope.prefix)
        self._watch_stop(record)
        if record.held_until > now:
            self._timers.set(record.held_until, record.id)
        self._operators.alive(record.id, message.container.owner if message.container.alive else "")
        known = self._whereabouts.around.networks
        if any(end.id and end.network not in known for end in message.container.endpoints):
            self._listing.want_soon(now)

    def _forget(self, id: str) -> None:
        self._records.forget(id)
        self._operators.alive(id, "")

    def _inspect_failed(self, message: m.InspectFailed, now: float) -> None:
        record = self._records.get(message.id)
        if record is None or not record.inspecting:
            return
        record.fail(now)
        self._records.mark_dirty(record)
        self._timers.set(record.retry_at, record.id)
        if record.failures == HOPELESS:
            text = f"cannot be inspected, asked again until it can: {message.reason}"
            self._write(m.WriteEvent("warning", text, self._records.name_of(record.id), record.id))

    def _probed(self, message: m.Probed, now: float) -> None:
        record, target = self._records.get(self._probing.tried(message.target, now)), message.target
        if record is None:
            return
        if not message.problem:
            record.proven |= {target}
            self._records.judge_again(record.id, "probe answered")
        elif self._probing.age(target, now) > PATIENCE and record.troubles.get(target) != message.problem:
            record.troubles[target] = message.problem
            self._records.judge_again(record.id, "probe failed")

    def _listed(self, answer: m.Listed, now: float) -> None:
        if not self._listing.answered(answer.ticket, now, self._resync):
            return
        if not answer.trouble:
            self.stats.list_trouble = ""
        elif self.stats.list_failed(answer.trouble):
            self._write(m.WriteEvent("docker", f"list incomplete{self._at}, what it lacks stays: {answer.trouble}"))
        self.stats.last_sync, self.stats.sync_seconds = now, now - self._listing.asked
        for id in self._operators.ids():
            if self._records.get(id) is None:
                self._records.create(id)
        if answer.networks != self._whereabouts.around.networks:
            self._whereabouts.survey(self._scope, self._own_id, answer.networks)
        for kind, record in self._records.compare(answer, self._scope.relevant):
            record.cause = "first look" if self._listing.first else "comparison"
            if not self._listing.first:
                self._drift.suspect(kind, record.id, record.offer, now)
        self._listing.first = False

    def _list_failed(self, answer: m.ListFailed, now: float) -> None:
        if self._listing.answered(answer.ticket, now, RETRY) and self.stats.list_failed(answer.reason):
            effect = "nothing changes" if self.applied else "nothing is routed yet"
            self._write(m.WriteEvent("docker", f"list failed{self._at}, {effect}: {answer.reason}"))

    # What is decided.

    def decide(self, now: float, timestamp: str) -> list[m.Order]:
        """The orders that follow from all that was told.

        Routes come before everything that asks or probes, as nothing may hold up a removal; only what the event log
        says comes before them, in the order in which it happened.
        """
        self._due(now)
        self._whereabouts.look(self._scope, self._own_id)
        changed, received = self._judge_stale(now)
        orders = [order for id, targets in changed.items() for order in self._probing.want(id, targets)]
        for id in self._offers.settle(now, timestamp):
            record = self._records.get(id)
            if record and not record.dirty:
                self._records.mark_dirty(record)
        if not self._holds(now) and (self._offers.untold or not self.applied):
            self.desired, op = self._offers.tell()
            self.applied, self._hold_until = True, None
            orders.insert(0, m.Apply(self.desired, received, op))
        orders += [*self._operators.orders(), *self._looks(now), *self._reopen(now)]
        events = self._events.copy()
        self._events.clear()
        return [*events, *orders]

    def next_due(self) -> float | None:
        """When :meth:`decide` has to be called again if nothing is told until then (monotonic seconds)."""
        # Without Docker, another list can only wait for a message.
        next_list = self._listing.due if self.stats.connected else None
        times = (self._timers.due, next_list, self._drift.due, self._hold_until, self._offers.due)
        return min((at for at in times if at is not None), default=None)

    def _due(self, now: float) -> None:
        for id in self._timers.take(now):
            record = self._records.get(id)
            if record is None:
                continue
            if record.outlive(now):
                record.cause = "outlived its stop signal"
            self._records.stale.add(record.id)
            if record.offer and record.offer.soon:
                self._records.mark_dirty(record)

    def _watch_stop(self, record: Record) -> None:
        for until in record.stop_times() or ():
            self._timers.set(until, record.id)

    def _judge_stale(self, now: float) -> tuple[dict[str, tuple[Target, ...]], float]:
        """Judge what may have changed: whose offers did, with the probes that they wait for; and when the oldest event
        that led there came in."""
        changed: dict[str, tuple[Target, ...]] = {}
        received = 0.0
        stale, self._records.stale = sorted(self._records.stale), set()
        for id in stale:
            record = self._records.get(id)
            offer = self._judge(record, now) if record else None
            if self._offers.put(id, offer, self._facts(record)):
                changed[id] = offer.targets if offer else ()
            if record is None:
                continue
            record.offer = offer
            if record.received and id in changed:
                received = min(received or record.received, record.received)
            if not record.dirty:
                record.received = 0.0
                self._drift.looked(id, offer)
        return changed, received

    def _facts(self, record: Record | None) -> Facts | None:
        if record is None or record.container is None:
            return None
        return Facts(record.container, record.labels, self._scope.prefix, self.url, record.cause)

    def _judge(self, record: Record, now: float) -> Offer | None:
        container = record.container
        if container is None or not self._scope.labelled(container.labels):
            return None
        overrides = self._operators.of(record.id, container.owner)
        about = record.circumstances(now, overrides)
        offer = judge(container, record.labels, about, self._whereabouts.around, self._records.lookup)
        if about.stop == "outlived" and any(route.entry.address for route in offer.routes):
            record.survived()
            about = record.circumstances(now, overrides)
            offer = judge(container, record.labels, about, self._whereabouts.around, self._records.lookup)
        if offer.soon and not record.dirty and record.looks < LOOKS:
            self._timers.set(now + LOOK_AGAIN * 2**record.looks, record.id)
            record.looks += 1
        return offer

    def _holds(self, now: float) -> bool:
        """True while the first apply waits: for the list, for a look at everything, for a try of every probe."""
        if self.applied:
            return False
        unseen = (self._records.get(id) for id in self._records.dirty)
        if self._listing.first or any(one and not one.container and one.failures < HOPELESS for one in unseen):
            self._hold_until = None
            return True
        if self._hold_until is None:
            self._hold_until = now + FIRST_PROBES
        return self._probing.untried and now < self._hold_until

    def _looks(self, now: float) -> list[m.Order]:
        if not self.stats.connected:
            return []
        orders: list[m.Order] = []
        if self._listing.ask(now, self._records.clock):
            orders.append(m.TakeList(self._listing.ticket, self._scope.opting_in))
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
            self._write(m.WriteEvent("drift", f"{kind}, and no event had told so", self._records.name_of(id), id))
        return [m.Reopen("events were lost")] if missed else []
