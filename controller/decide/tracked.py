"""What is remembered of one container between two inspects.  Pure.

A stop in progress leaves no trace in inspect (Docker says running until the end), so kill events are kept here.  They
count for the start they were sent to: a kill before ``started_ns`` is history.  Nothing but a new start or
:meth:`TrackedContainer.survived` makes a stop undone; a comparison never does.

A stop is what looks like one: ``docker stop --signal`` names any signal, and no event tells it from ``docker kill``.
Its time-out (``docker stop -t``) stands nowhere either, and a worker that is ending accepts and answers as any other.
So only two things say that a container has outlived its stop: its HEALTHCHECK failed and then passed again, which does
not happen to a worker that is ending; or it is there long after, and answers a GET.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastroute.controller.decide.address import Lookup
from fastroute.controller.decide.container import Container, Fingerprint
from fastroute.controller.decide.evaluate import ContainerContext, StopPhase, evaluate
from fastroute.controller.decide.labels import Labels, parse_labels
from fastroute.controller.decide.messages import Happened
from fastroute.controller.decide.networks import NetworkContext
from fastroute.controller.decide.route_override import KeyPort, OverrideMap
from fastroute.controller.decide.scope import Scope
from fastroute.controller.desired import ContainerRoutes, ProbeTarget
from fastroute.controller.views import Facts
from fastroute.router.runtime.backoff import doubled

#: Signals that are taken for a stop, beside the container's own: INT, QUIT, KILL, TERM.
STOP_SIGNALS = (2, 3, 9, 15)
#: Seconds from a stop signal on.  Nobody has outlived it before the stop time-out that inspect shows, or this one if
#: that is shorter.
MIN_STOP_TIMEOUT = 10.0
#: A container without a HEALTHCHECK that recovers has not outlived it before this, as ``docker stop -t`` may give more
#: time than inspect shows.
UNSEEN_STOP_TIMEOUT = 120.0
#: What is added to either.
STOP_SLACK = 5.0
#: Seconds that the stop signal is waited for once Docker Compose made the replacement.  If it does not come, Compose
#: was ended, or found something else to do.
REPLACEMENT_TIMEOUT = 5.0
#: Events that take the routes at once.  Not ``oom``: it tells of any process in the container; where the first one is
#: meant, ``die`` follows at once.
_TAKES_ROUTES = ("die", "pause")
#: Kill events remembered for each container: one is enough, more come from scripts that repeat them.
_MAX_KILLS = 16
#: Seconds until an inspect that failed is asked for again: the first wait, and the last, as they double.
FIRST_INSPECT_RETRY, MAX_INSPECT_RETRY = 0.2, 10.0
#: Seconds until a container that has no address yet is inspected again (they double each time), and how often.
ADDRESS_RETRY_DELAY, MAX_ADDRESS_RETRIES = 0.05, 8
#: Seconds that a probe has to fail before people read why.
PROBE_REPORT_DELAY = 1.0
#: A life shorter than so many seconds that nobody ended is a crash.
SHORT_LIFE = 60.0
#: From so many crashes in a row on, a new start is routed only once it has been up for some seconds: the first number,
#: doubling with every crash up to the second.  (Docker itself waits longer and longer before it starts one again, up to
#: a minute.)
CRASH_LIMIT, FIRST_HOLD, MAX_HOLD = 3, 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal sent to the container: when by the engine's clock, and ``at`` by ours (monotonic seconds)."""

    time_ns: int
    signal: int
    at: float


@dataclass(slots=True)
class TrackedContainer:
    """One container.  Times are monotonic seconds, except those that end in ``_ns``: they are the engine's."""

    id: str
    #: What the last inspect said; ``None``: it was not inspected yet.
    container: Container | None = None
    labels: Labels = field(default_factory=Labels)
    #: What it offers, by the last evaluation; ``None``: it is not ours, or was not evaluated yet.
    offer: ContainerRoutes | None = None
    #: Counts what happened to it, to distinguish the answer of an inspect from that of a later one.
    version: int = 0
    #: The clock of the store when something was last known of it that was not known before.
    touched: int = 0
    #: An inspect is under way.
    inspecting: bool = False
    #: Inspects that failed in a row, and when the next one may be asked for.
    failures: int = 0
    retry_at: float = 0.0
    #: Inspects of this start for want of an address.
    address_retries: int = 0
    #: What a list may show of it without a new inspect.
    fingerprints: frozenset[Fingerprint] = frozenset()
    #: The event that takes its routes until the next inspect; empty: there is none.
    suspected: str = ""
    #: The last signals that were sent to it.
    kills: tuple[Kill, ...] = ()
    #: Short lives in a row.
    crashes: int = 0
    #: It is not routed before this time, because it crashed too often.
    held_until: float = 0.0
    #: Until then its stop is expected: docker compose has made the container that replaces it.
    replaced_until: float = 0.0
    #: The stop (its time) that it outlived.
    survived_ns: int = 0
    #: The stop (its time) for which a round of probes has begun.
    outlived_ns: int = 0
    #: The stop (its time) since which the HEALTHCHECK failed and passed again.
    recovered_ns: int = 0
    #: Docker called this start healthy, and has not called it unhealthy since.
    healthy: bool = False
    #: The number of the round of probes.
    round: int = 0
    #: Probes of this round that succeeded, and what the others met.
    proven: frozenset[ProbeTarget] = frozenset()
    troubles: dict[ProbeTarget, str] = field(default_factory=dict)
    #: The last thing that happened to it, in words.
    cause: str = ""
    #: When the last event came in that is not decided yet; 0: there is none.
    received: float = 0.0

    def happened(self, event: Happened, now: float) -> None:
        """An event about it."""
        self.version += 1
        self.cause = f"event {event.action}" + (f" {event.signal}" if event.signal else "")
        if event.live:
            self.received = now
        if event.action == "kill":
            self._kill(Kill(event.time_ns, event.signal, now - event.age))
        elif event.live:
            self._suspect(event.action, event.network, event.time_ns)

    def _suspect(self, action: str, network: str, time_ns: int) -> None:
        """Some live events take the routes before an inspect.  ``network`` is the one that it left or joined."""
        if self.container and time_ns < self.container.started_ns:
            return  # late, and about an earlier start
        minded = any(route.health == "docker" for route in self.labels.routes)
        # An answer that is on its way may be from before this event.
        used = self.offer.networks if self.offer else ()
        if (
            action in _TAKES_ROUTES
            or (action == "unhealthy" and (minded or self.container is None))
            or (action == "disconnect" and (network in used or (self.inspecting and not used)) and not self.suspected)
        ):
            self.suspected = action
        if action == "unhealthy":
            self.healthy = False

    def take(self, container: Container, version: int, now: float) -> bool:
        """An inspect, asked for at ``version``; true if nothing happened since, and only then it ends a suspicion."""
        self._count_crash(container, now)
        if self.container is None or self.container.started_at != container.started_at:
            self.proven, self.round, self.address_retries = frozenset(), 0, 0
            self.replaced_until = 0.0
            self.troubles, self.healthy = {}, False
        self._take_health(container, now)
        self.inspecting, self.failures = False, 0
        self.fingerprints = frozenset((container.fingerprint,))
        if version != self.version:
            return False
        self.suspected = ""
        return True

    def _take_health(self, new: Container, now: float) -> None:
        """A daemon that starts anew under its containers begins again at ``starting``, and so proves nothing."""
        recovers = bool(self.container and self.container.health == "unhealthy" and new.health == "healthy")
        self.container = new
        if new.health in ("healthy", "unhealthy"):
            self.healthy = new.health == "healthy"
        if recovers and (stop := self._last_stop()):
            self.recovered_ns = stop.time_ns
        self._recover(now)

    def read_labels(self, scope: Scope) -> None:
        """What its labels mean to a controller with ``scope``."""
        if self.container:
            self.labels = parse_labels(self.container.labels, self.container.ports, scope.prefix, scope.zone)

    def _count_crash(self, new: Container, now: float) -> None:
        old = self.container
        if old is None or not old.started_ns or old.started_at == new.started_at:
            return
        ended_ns = new.finished_ns if old.started_ns < new.finished_ns < new.started_ns else new.started_ns
        crashed = self._last_stop() is None and ended_ns - old.started_ns < SHORT_LIFE * 1e9
        self.crashes = self.crashes + 1 if crashed else 0
        if new.alive and self.crashes >= CRASH_LIMIT:
            self.held_until = now + self.hold

    @property
    def hold(self) -> float:
        """Seconds that a start is held back after so many crashes."""
        return 0.0 if self.crashes < CRASH_LIMIT else doubled(FIRST_HOLD, MAX_HOLD, self.crashes - CRASH_LIMIT)

    def inspect_failed(self, now: float) -> None:
        """An inspect failed."""
        self.inspecting = False
        self.retry_at = now + doubled(FIRST_INSPECT_RETRY, MAX_INSPECT_RETRY, self.failures)
        self.failures += 1

    def _kill(self, kill: Kill) -> None:
        """A signal was sent.  An event that comes twice (live and from the past) counts once."""
        if kill.time_ns not in {known.time_ns for known in self.kills}:
            self.kills = (*self.kills, kill)[-_MAX_KILLS:]

    def stop_times(self) -> tuple[float, float] | None:
        """When the container will have outlived a stop in progress: if its HEALTHCHECK recovers, and if not.  ``None``:
        no stop is in progress."""
        stop = self._last_stop()
        if stop is None or self.container is None:
            return None
        timeout, begun = self.container.stop_timeout, stop.at + STOP_SLACK
        return begun + max(timeout, MIN_STOP_TIMEOUT), begun + max(timeout, UNSEEN_STOP_TIMEOUT)

    def _recover(self, now: float) -> None:
        stop, times = self._last_stop(), self.stop_times()
        if stop and times and times[0] <= now and stop.time_ns == self.recovered_ns:
            self.survived()

    def probed(self, target: ProbeTarget, problem: str, age: float) -> str:
        """A probe was tried, first ``age`` seconds ago; returns the cause to evaluate the container again, if there
        is one.  ``problem`` empty: the probe succeeded."""
        if not problem:
            self.proven |= {target}
            return "probe answered"
        if age <= PROBE_REPORT_DELAY or self.troubles.get(target) == problem:
            return ""
        self.troubles[target] = problem
        return "probe failed"

    def expect_stop(self, now: float) -> float:
        """Its replacement was made, so its stop signal will come at any moment.  Returns how long it is waited for."""
        self.received = self.received or now
        self.replaced_until = now + REPLACEMENT_TIMEOUT
        return self.replaced_until

    def outlive(self, now: float) -> bool:
        """From here on, probes from before a stop that is outlived prove nothing; true when one is, since now."""
        self._recover(now)
        stop, times = self._last_stop(), self.stop_times()
        if stop and times and times[1] <= now and stop.time_ns > self.outlived_ns:
            self.outlived_ns = stop.time_ns
            self.round += 1
            return True
        return False

    def evaluate(
        self, now: float, overrides: OverrideMap, networks: NetworkContext, lookup: Lookup
    ) -> ContainerRoutes | None:
        """What it offers now, if it was inspected.  ``lookup`` finds another container by id or name."""
        if self.container is None:
            return None
        context = self._context(now, overrides)
        offer = evaluate(self.container, self.labels, context, networks, lookup)
        if context.stop == "outlived" and any(route.entry.address for route in offer.routes):
            self.survived()
            offer = evaluate(self.container, self.labels, self._context(now, overrides), networks, lookup)
        return offer

    @property
    def places(self) -> list[KeyPort]:
        """Key and port of each of its routes."""
        return [(key, spec.port) for spec in self.labels.routes for key in spec.keys]

    def next_address_retry(self, now: float) -> float | None:
        """When to inspect it again for want of an address; ``None``: often enough now."""
        if self.address_retries >= MAX_ADDRESS_RETRIES:
            return None
        self.address_retries += 1
        return now + ADDRESS_RETRY_DELAY * 2.0 ** (self.address_retries - 1)

    def facts(self, prefix: str, engine: str, node: str) -> Facts | None:
        """What people may read of it beside what it offers, if it was inspected."""
        return Facts(self.container, self.labels, prefix, engine, self.cause, node) if self.container else None

    def survived(self) -> None:
        """It outlived its stop signal and serves."""
        if stop := self._last_stop():
            self.survived_ns = stop.time_ns

    def _context(self, now: float, overrides: OverrideMap) -> ContainerContext:
        """What inspect does not show."""
        times, last = self.stop_times(), self._last_stop()
        stop: StopPhase = "no" if times is None else "stopping" if now < times[1] else "outlived"
        if stop == "no" and now < self.replaced_until:
            stop = "replaced"
        held = f"ended {self.crashes} times soon after its start; routed once it has been up for {self.hold:g} s"
        return ContainerContext(
            stop,
            last.signal if last else 0,
            self.healthy,
            self.suspected,
            self.round,
            self.proven,
            self.troubles.copy(),
            overrides,
            held if now < self.held_until else "",
        )

    def _last_stop(self) -> Kill | None:
        if self.container is None:
            return None
        after = max(self.container.started_ns - 1, self.survived_ns)
        signals = (self.container.stop_signal, *STOP_SIGNALS)
        stops = [kill for kill in self.kills if kill.time_ns > after and kill.signal in signals]
        return max(stops, key=lambda kill: (kill.at, kill.time_ns), default=None)
