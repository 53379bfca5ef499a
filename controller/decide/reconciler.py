"""The decisions about one engine: messages in, orders out.  Pure.

What it wants done, written or said is an order, and time and chance come in as arguments: ``now`` is monotonic seconds,
``timestamp`` the same moment as people read it.

Rules, in the order in which they matter:

* An event only marks a container as dirty; what it means is decided from one inspect.  Some events also raise a
  *suspicion* that takes the routes at once, until an inspect that was asked for later says otherwise; a stop signal
  takes them for good (see :mod:`.tracked`).  So removal never waits for Docker, and addition always does.
* Every ``resync`` seconds everything is compared.  What events should have told is counted as drift, once it is clear
  that no event is merely late.  What happened after the list was asked for is newer than the list.
* A list that fails says nothing.  A list that lacks a container is a reason to inspect it: only a container that
  inspect does not find is gone.
* Nothing is applied before everything has been looked at once (:mod:`.first_apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container import Network
from fastroute.controller.decide.container_store import ContainerStore
from fastroute.controller.decide.drift import Drift
from fastroute.controller.decide.first_apply import MAX_INSPECTS, FirstApply
from fastroute.controller.decide.networks import NetworkContext, network_context
from fastroute.controller.decide.overrides import OverrideStore
from fastroute.controller.decide.probing import Probing
from fastroute.controller.decide.replacement import find_replaced
from fastroute.controller.decide.routing import Routing
from fastroute.controller.decide.schedule import LIST_RETRY_DELAY, Listing, Timers
from fastroute.controller.decide.scope import Scope
from fastroute.controller.decide.stats import EngineStats
from fastroute.controller.decide.swarm import SERVICE_ID, SwarmLabels
from fastroute.controller.decide.tracked import TrackedContainer
from fastroute.controller.desired import ContainerRoutes, Desired, ProbeTarget


class Reconciler:
    """One engine's containers, and what should be routed to them.  Other threads may read what has no underscore.

    * ``resync``: seconds between two comparisons; ``uniform`` draws a number between two others, and varies them.
    * ``url``: of the engine; it stands in the event log if the engine is one of ``several``.
    * ``exclusive``: a key belongs to one compose project.
    * ``told_by_others``: another controller tells what the managers of the engine's swarm know.
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
        told_by_others: bool = False,
    ) -> None:
        self._scope, self._resync = scope, resync
        self._at = f" at {url}" if several else ""
        #: What the event log should say of the messages taken in since the last decision.
        self._events: list[m.WriteEvent] = []
        self._write = self._events.append
        self.url = url
        #: Who this engine is to the routers; empty until it was reached.
        self.source = ""
        self.stats = EngineStats()
        self.engine: m.Engine | None = None
        self.desired: Desired = {}
        self._containers = ContainerStore()
        #: What addresses are chosen by.
        self._networks = NetworkContext(scope.network, published=scope.published)
        self._drift, self._probing = Drift(), Probing()
        self._routing = Routing(self._write, exclusive=exclusive)
        self.statuses = self._routing.statuses
        self._listing, self._overrides = Listing(uniform), OverrideStore(kept)
        self._own_id = ""
        self._timers = Timers()
        self._first_apply = FirstApply()
        self._swarm = SwarmLabels(told_by_others=told_by_others)

    @property
    def applied(self) -> bool:
        """True once every container was inspected, and the sink was given the routes for the first time."""
        return self._first_apply.done

    # Messages.

    def handle(self, message: m.Message, now: float) -> None:
        """Take in one message.  Nothing is decided before :meth:`decide`."""
        _HANDLERS[type(message)](self, message, now)

    def _connected(self, message: m.Connected, now: float) -> None:
        engine = self.engine = message.engine
        self.source = self.source or message.source
        self.stats.connect()
        self._swarm.connected(engine.swarm, now)
        self._listing.begin(now)
        self._drift.clear()
        for tracked in self._containers:
            tracked.retry_at = 0.0
        self._own_id = engine.own_id
        if engine.own_id and self._containers.get(engine.own_id) is None:
            self._containers.create(engine.own_id)
        self._write(m.WriteEvent("docker", f"connected to Docker {engine.version}{self._at}"))

    def _disconnected(self, message: m.Disconnected, now: float) -> None:
        if self.stats.disconnect(message.reason):
            text = f"no connection to Docker{self._at}, everything stays as it is: {message.reason}"
            self._write(m.WriteEvent("docker", text))
        self._listing.interrupt()

    def _configure(self, message: m.Configure, now: float) -> None:
        """Everything is read anew; a list that was asked for before knows only what was ours then."""
        self._scope = Scope.of(message.settings, self._scope.published)
        self._resync = message.settings.resync
        self._listing.begin(now)
        for tracked in self._containers:
            tracked.read_labels(self._scope)
            self._containers.mark_stale(tracked, "configuration")
        self._survey(self._networks.known)

    def _happened(self, event: m.Happened, now: float) -> None:
        if event.live:
            self.stats.happened(event.action, now)
            self._expect_stop(event, now)
        self._drift.event_came(event.id)
        tracked = self._containers.get(event.id)
        if tracked is None and not (self._relevant(event.labels) and (event.live or event.action == "kill")):
            return
        if event.live:
            signal = f" with signal {event.signal}" if event.signal else ""
            self._write(m.WriteEvent("event", event.action + signal, self._containers.name_of(event.id), event.id))
        if event.action == "destroy" and event.live:
            self._forget(event.id)
            return
        tracked = tracked or self._containers.create(event.id)
        tracked.happened(event, now)
        self._containers.touch(tracked)
        if event.action == "kill":
            self._watch_stop(tracked)
        # Docker connects a container before it starts it, and answers no inspect until it has.
        elif event.live and not (event.action == "connect" and tracked.container and not tracked.container.running):
            self._containers.mark_dirty(tracked)

    def _expect_stop(self, event: m.Happened, now: float) -> None:
        """The container that ``event`` announces the end of gets no new requests from now on."""
        if replaced := find_replaced(event, self._containers):
            self._timers.set(replaced.expect_stop(now), replaced.id)
            self._containers.mark_stale(replaced, "docker compose made its replacement")

    def _inspected(self, message: m.Inspected, now: float) -> None:
        tracked = self._containers.get(message.id)
        if tracked is None or not tracked.inspecting:
            return
        if message.container is None:
            self._forget(message.id)
            self._drift.missing(message.id)
            return
        container = replace(message.container, labels=self._swarm.of(message.container.labels))
        tracked = self._containers.take(tracked, container, message.version, now)
        tracked.read_labels(self._scope)
        self._watch_stop(tracked)
        if tracked.held_until > now:
            self._timers.set(tracked.held_until, tracked.id)
        self._overrides.alive(tracked.id, message.container.owner if message.container.alive else "")
        known = self._networks.known
        if any(end.id and end.network not in known for end in message.container.endpoints):
            self._listing.want_soon(now)

    def _forget(self, id: str) -> None:
        self._containers.forget(id)
        self._containers.mark_all_stale(self._overrides.gone(id, self._containers.offers))

    def _inspect_failed(self, message: m.InspectFailed, now: float) -> None:
        tracked = self._containers.get(message.id)
        if tracked is None or not tracked.inspecting:
            return
        self._containers.inspect_failed(tracked, now)
        self._timers.set(tracked.retry_at, tracked.id)
        if tracked.failures == MAX_INSPECTS:
            text = f"cannot be inspected, asked again until it can: {message.reason}"
            self._write(m.WriteEvent("warning", text, self._containers.name_of(tracked.id), tracked.id))

    def _probed(self, message: m.Probed, now: float) -> None:
        tracked = self._containers.get(self._probing.tried(message.target, now))
        if tracked is None:
            return
        if cause := tracked.probed(message.target, message.problem, self._probing.age(message.target, now)):
            self._containers.mark_stale(tracked, cause)

    def _listed(self, answer: m.Listed, now: float) -> None:
        if not self._listing.answered(answer.ticket, now, self._resync):
            return
        if self.stats.listed(now, now - self._listing.asked, answer.trouble):
            self._write(m.WriteEvent("docker", f"list incomplete{self._at}, what it lacks stays: {answer.trouble}"))
        for id in self._overrides.ids():
            if self._containers.get(id) is None:
                self._containers.create(id)
        if answer.networks != self._networks.known:
            self._survey(answer.networks)
        self._swarm.ask()
        for kind, tracked in self._containers.compare(answer, self._relevant):
            tracked.cause = "first look" if self._listing.first else "comparison"
            if not self._listing.first:
                self._drift.suspect(kind, tracked.id, tracked.offer, now)
        self._listing.first = False

    def _relevant(self, labels: Mapping[str, str]) -> bool:
        return self._scope.relevant(self._swarm.of(labels))

    def _swarm_told(self, message: m.SwarmTold, now: float) -> None:
        """Containers whose services have other labels now are read anew, those that did not matter before, too."""
        changed = self._swarm.told(message.view.services)
        for tracked in self._containers:
            if tracked.container and tracked.container.labels.get(SERVICE_ID) in changed:
                self._containers.mark_dirty(tracked)
        if changed:
            self._listing.begin(now)

    def _list_failed(self, answer: m.ListFailed, now: float) -> None:
        if self._listing.answered(answer.ticket, now, LIST_RETRY_DELAY) and self.stats.list_failed(answer.reason):
            effect = "nothing changes" if self.applied else "nothing is routed yet"
            self._write(m.WriteEvent("docker", f"list failed{self._at}, {effect}: {answer.reason}"))

    def _override(self, request: m.OverrideRequest | m.SwitchRequest, now: float) -> None:
        self._containers.mark_all_stale(self._overrides.take(request, self._containers.offers(), now, self._write))

    # Decisions.

    def decide(self, now: float, timestamp: str) -> list[m.Order]:
        """The orders that follow from all messages.

        Routes come before everything that asks or probes, as nothing may hold up a removal; only what the event log
        says comes before them, in the order in which it happened.
        """
        self._due(now)
        self._follow_routers()
        changed, received = self._evaluate_stale(now)
        orders = [order for id, probe_targets in changed.items() for order in self._probing.want(id, probe_targets)]
        for id in self._routing.settle(now, timestamp):
            tracked = self._containers.get(id)
            if tracked:
                self._containers.mark_dirty(tracked)
        unseen, first = self._containers.never_inspected(), self._first_apply
        known = not self._listing.first and not self._swarm.waits(now)
        waits = first.waits(now, known, unseen, self._probing.untried)
        if not waits and (self._routing.unapplied or not first.done):
            self.desired, diff = self._routing.take_diff()
            first.finish()
            orders.insert(0, m.Apply(self.desired, diff, received))
        orders += [*self._overrides.orders(), *self._asks(now)]
        orders += self._drift.reopen(now, self.stats, self._containers.name_of, self._write)
        events = self._events.copy()
        self._events.clear()
        return [*events, *orders]

    def next_due(self) -> float | None:
        """When :meth:`decide` has to be called again if no message comes until then (monotonic seconds)."""
        # Without Docker, another list can only wait for a message.
        next_list = self._listing.due if self.stats.connected else None
        own = (self._timers, self._drift, self._routing, self._overrides)
        times = (next_list, self._first_apply.until, self._swarm.waits_until, *(each.due for each in own))
        return min((at for at in times if at is not None), default=None)

    def _due(self, now: float) -> None:
        self._containers.mark_all_stale(self._overrides.expire(now, self._containers.offers))
        for id in self._timers.take(now):
            tracked = self._containers.get(id)
            if tracked is None:
                continue
            self._containers.mark_stale(tracked, "outlived its stop signal" if tracked.outlive(now) else "")
            if tracked.offer and tracked.offer.retry_soon:
                self._containers.mark_dirty(tracked)

    def _follow_routers(self) -> None:
        """A router's container, or our own, may have moved."""
        for tracked in self._containers.stale():
            labels = tracked.container.labels if tracked.container else {}
            if tracked.id == self._own_id or self._scope.router(labels):
                self._survey(self._networks.known)
                return

    def _survey(self, known: Mapping[str, Network]) -> None:
        """Everything may have moved; ``known`` are all networks of the engine."""
        own = self._containers.get(self._own_id)
        containers = (tracked.container for tracked in self._containers if tracked.container)
        routers = [container for container in containers if self._scope.router(container.labels)]
        networks = network_context(self._scope, routers, own.container if own else None, known, self._networks)
        if networks != self._networks:
            self._networks = networks
            for tracked in self._containers:
                self._containers.mark_stale(tracked, "networks of engine or router" if tracked.offer else "")

    def _watch_stop(self, tracked: TrackedContainer) -> None:
        for until in tracked.stop_times() or ():
            self._timers.set(until, tracked.id)

    def _evaluate_stale(self, now: float) -> tuple[dict[str, tuple[ProbeTarget, ...]], float]:
        """Evaluate what may have changed.  Returns the ids of containers whose offers did, with the probes that they
        wait for; and when the oldest event that led there came in."""
        changed: dict[str, tuple[ProbeTarget, ...]] = {}
        received = 0.0
        for id in self._containers.take_stale():
            tracked = self._containers.get(id)
            offer = self._evaluate(tracked, now) if tracked else None
            facts = tracked.facts(self._scope.prefix, self.url, self._swarm.node) if tracked else None
            if self._routing.put(id, offer, facts):
                changed[id] = offer.probe_targets if offer else ()
            if tracked is None:
                continue
            tracked.offer = offer
            if tracked.received and id in changed:
                received = min(received or tracked.received, tracked.received)
            if not self._containers.is_dirty(tracked):
                tracked.received = 0.0
                self._drift.looked(id, offer)
        return changed, received

    def _evaluate(self, tracked: TrackedContainer, now: float) -> ContainerRoutes | None:
        if tracked.container is None or not self._scope.labelled(tracked.container.labels):
            return None
        overrides = self._overrides.steering(tracked.id, tracked.container.owner, tracked.places)
        offer = tracked.evaluate(now, overrides, self._networks, self._containers.lookup)
        waits = offer is not None and offer.retry_soon and not self._containers.is_dirty(tracked)
        if waits and (retry_at := tracked.next_address_retry(now)) is not None:
            self._timers.set(retry_at, tracked.id)
        return offer

    def _asks(self, now: float) -> list[m.Order]:
        if not self.stats.connected:
            return []
        orders: list[m.Order] = []
        if self._listing.ask(now, self._containers.clock):
            orders.append(m.TakeList(self._listing.ticket, self._scope.opting_in))
        if self._swarm.asks():
            orders.append(m.TakeSwarm())
        orders += [m.Inspect(tracked.id, tracked.version) for tracked in self._containers.begin_inspects(now)]
        return orders


#: What takes in a message of each type.
_HANDLERS: Mapping[type[m.Message], Callable[[Reconciler, Any, float], None]] = {
    m.Happened: Reconciler._happened,
    m.Inspected: Reconciler._inspected,
    m.InspectFailed: Reconciler._inspect_failed,
    m.Probed: Reconciler._probed,
    m.Listed: Reconciler._listed,
    m.ListFailed: Reconciler._list_failed,
    m.Connected: Reconciler._connected,
    m.Disconnected: Reconciler._disconnected,
    m.Resync: lambda reconciler, message, now: reconciler._listing.want(now),
    m.Configure: Reconciler._configure,
    m.OverrideRequest: Reconciler._override,
    m.SwitchRequest: Reconciler._override,
    m.SwarmHappened: lambda reconciler, message, now: reconciler._swarm.ask(),
    m.SwarmTold: Reconciler._swarm_told,
    m.SwarmUntold: lambda reconciler, message, now: None,
}
