"""The thread that makes nginx serve what is desired, and checks that it still does.

An edge: :mod:`.reload_schedule` says when, :mod:`.apply_config` says which step is next; this file carries it
out and publishes the result.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass

from fastroute.controller.desired import Desired, Route
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.nginx.local import Nginx, NginxUnreachable
from fastroute.controller.nginx_mode.apply_config import Outcome, Reload, Step, Swap, apply_config
from fastroute.controller.nginx_mode.desired_routes import DesiredRoutes, absences
from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.isolate import Check
from fastroute.controller.nginx_mode.named_nodes import expanded, name_of
from fastroute.controller.nginx_mode.nginx_config import AbsentContainer, ConfigState, Rendered
from fastroute.controller.nginx_mode.preview import nginx_options
from fastroute.controller.nginx_mode.reload_schedule import ReloadSchedule
from fastroute.controller.nginx_mode.stored_routes import routes_from_json, routes_to_json
from fastroute.controller.nginx_mode.user_templates import UserTemplates, read_user_templates
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import View
from fastroute.router.runtime.resolver import Resolver

#: Seconds between polls of the running nginx.
STATUS_POLL_INTERVAL = 2.0
#: Seconds for which the first configuration waits for the sources that have not applied anything yet.  Then what they
#: wanted last stays in it.
FIRST_CONFIG_TIMEOUT = 10.0

log = logging.getLogger("fastroute.controller.nginx")


@dataclass(slots=True)
class ApplyStats:
    """Counts for metrics and status."""

    reloads: int = 0
    failures: int = 0
    tests: int = 0
    #: How long the last attempt took.
    seconds: float = 0.0
    #: When an attempt last ended well, in seconds since 1970.
    success: float | None = None


class NginxApplier:
    """Makes ``nginx`` serve the desired state of all sources; ``views`` returns the containers."""

    def __init__(
        self, settings: ControllerSettings, events: ControllerEvents, views: Callable[[], Iterable[View]], nginx: Nginx
    ) -> None:
        self._settings, self._events, self._views = settings, events, views
        self._options = nginx_options(settings)
        self._nginx = nginx
        self._files = Generations(settings.nginx_conf_dir)
        self.stats = ApplyStats()
        #: What nginx serves, by source.
        self.served: list[tuple[Desired, str]] = []
        #: The hash that nginx answered last; empty: none.
        self.running = ""
        #: Whether nginx answered at the last poll.
        self.answers = False
        #: Why nginx does not serve all that is desired; empty: it does.
        self.error = ""
        #: The keys that are kept out, and why.
        self.quarantined: Mapping[str, str] = {}
        #: The quarantined keys that only wait to be tried.
        self.untried = frozenset[str]()
        # The quarantined keys that nginx refuses even without a node.
        self._dropped = frozenset[str]()
        self._lock = threading.Condition()
        self._stored = StateFile(settings.nginx_conf_dir, "routes.json", "routes of sources that are not heard yet")
        stored = routes_from_json(self._stored.load())
        self._desired, self._schedule = DesiredRoutes(stored=stored), ReloadSchedule(settings.nginx_min_interval)
        self._saved: Mapping[str, Desired] | None = None
        # Without them, what is served can't be told from what nobody wants any more.
        self._waits = FIRST_CONFIG_TIMEOUT if stored is not None or self._files.current() is None else math.inf
        self._resolver = Resolver(self._resolved)
        # The user's files as they were read last, and those that passed last.
        self._latest = read_user_templates(settings.nginx_template_dir)
        self._last_good: UserTemplates | None = None
        # What is swapped in, and what nginx was last proven to serve.
        self._before: Rendered | None = None
        self._last: Rendered | None = None
        # The routes of each key that was quarantined, as they were then, and the user's files of then.
        self._refused: dict[str, tuple[object, UserTemplates]] = {}
        # The absent containers in the comments that were rendered last.
        self._rendered_absences: Mapping[str, tuple[AbsentContainer, ...]] = {}
        self._stopping = False
        self._waits_until = 0.0
        self._thread = threading.Thread(target=self._run, name="nginx", daemon=True)

    # From other threads.

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add_source(self) -> int:
        """Expect one more source; returns its number."""
        self._desired.expected += 1
        return self._desired.expected - 1

    def put(self, part: int, source: str, desired: Desired) -> None:
        """Take over the desired state of one source."""
        with self._lock:
            now = time.monotonic()
            self._waits_until = self._waits_until or now + self._waits
            self._schedule.changed(now, self._desired.put(part, source, desired, now))
            self._resolver.watch(filter(None, (name_of(route)[0] for route in self._desired.routes(now).values())))
            self._lock.notify()

    def _resolved(self, host: str) -> None:
        """A name has other addresses now; called by the resolver's thread."""
        with self._lock:
            self._schedule.changed(time.monotonic())
            self._lock.notify()

    def close(self) -> None:
        """Write no more; nginx goes on with what it has."""
        with self._lock:
            self._stopping = True
            self._resolver.close()
            self._lock.notify()
        if self._thread.ident is not None:
            self._thread.join(5)

    def use_templates(self, user_templates: UserTemplates) -> None:
        """Use these templates and includes from now on."""
        with self._lock:
            self._latest = user_templates
            self._schedule.changed(time.monotonic())
            self._lock.notify()

    def state(self) -> ConfigState:
        """What would be rendered now."""
        with self._lock:
            return self._state(time.monotonic())

    @property
    def problems(self) -> list[str]:
        """What could not be done as the labels ask, in what nginx serves."""
        return [str(problem) for problem in self._last.problems] if self._last else []

    # The thread.

    def _run(self) -> None:
        self._before = self._files.current()
        polled_at = 0.0
        while True:
            with self._lock:
                now = time.monotonic()
                if self._stopping:
                    return
                due = self._due(now)
                if due > now and polled_at + STATUS_POLL_INTERVAL > now:
                    self._lock.wait(min(due, polled_at + STATUS_POLL_INTERVAL) - now)
                    continue
            try:
                if polled_at + STATUS_POLL_INTERVAL <= now:
                    polled_at = now
                    self._poll_status()
                if due <= now:
                    self._apply()
            except Exception:
                log.exception("nginx mode: this should not happen; tried again")
                with self._lock:
                    self._schedule.failed(time.monotonic())

    def _due(self, now: float) -> float:
        """When the next attempt is due; the caller holds the lock."""
        if self._desired.expire(now):
            self._schedule.changed(now)
        due = self._schedule.due
        if due is None:
            return self._desired.next_expiry or now + STATUS_POLL_INTERVAL
        return due if self._desired.complete else max(due, self._waits_until)

    def _poll_status(self) -> None:
        try:
            self.running = self._nginx.running()
        except NginxUnreachable:
            self.running = ""
        answers = bool(self.running)
        if answers != self.answers and self.stats.success:
            self._events.write("nginx", "answers again" if answers else "does not answer any more")
        self.answers = answers
        other = answers and self._last is not None and self.running != self._last.hash
        with self._lock:
            now = time.monotonic()
            if other or (self._last is not None and not self.error and self._reworded(now)):
                self._schedule.changed(now)

    def _reworded(self, now: float) -> bool:
        """True if the comments in the configuration would change."""
        state = self._state(now)
        return state.absent != self._rendered_absences and self._schedule.due is None

    def _state(self, now: float) -> ConfigState:
        routes = expanded(self._desired.routes(now), self._resolver.addresses)
        routes_by_key = _by_key(routes)
        quarantined = {
            key: self.quarantined[key]
            for key, (then, user_templates) in self._refused.items()
            if user_templates is self._latest
            and then == routes_by_key.get(key, frozenset())
            and key in self.quarantined
        }
        return ConfigState(routes, absences(self._views(), routes), quarantined, self._dropped & quarantined.keys())

    def _apply(self) -> None:
        with self._lock:
            self._schedule.begun()
            began = time.monotonic()
            state, latest = self._state(began), self._latest
        self._rendered_absences = state.absent
        try:
            self.running = self._nginx.running()
            outcome = self._carry_out(
                apply_config(state, latest, self._last_good, self._options, self._before, self.running)
            )
        except (NginxUnreachable, OSError) as problem:
            text = (
                str(problem) if isinstance(problem, NginxUnreachable) else f"{self._settings.nginx_conf_dir}: {problem}"
            )
            outcome = Outcome(None, self._last_good, text, state.quarantined, dropped=state.dropped)
        self._publish(outcome, state, latest, began)

    def _carry_out(self, steps: Generator[Step, str, Outcome]) -> Outcome:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def _do(self, step: Step) -> str:
        match step:
            case Check():
                self.stats.tests += 1
                self._files.write(step.rendered)
                return self._nginx.test(step.rendered.hash)
            case Swap():
                self._files.swap(step.rendered)
                self._before = step.rendered
                return ""
            case Reload():
                with self._lock:
                    self._schedule.reloaded(time.monotonic())
                return self._nginx.reload(step.rendered.hash)

    def _publish(self, outcome: Outcome, state: ConfigState, latest: UserTemplates, began: float) -> None:
        now = time.monotonic()
        self.stats.seconds = now - began
        self._note(outcome, now - began)
        routes_by_key = _by_key(state.desired)
        self._refused = {
            key: self._refused[key] if key in state.quarantined else (routes_by_key.get(key, frozenset()), latest)
            for key in outcome.quarantined.keys() - outcome.untried
        }
        self.error, self.quarantined = outcome.error, outcome.quarantined
        self.untried, self._dropped = outcome.untried, outcome.dropped
        if outcome.user_templates is not None:
            self._last_good = outcome.user_templates
        with self._lock:
            if outcome.proven and outcome.rendered:
                self._schedule.succeeded(now, unfinished=bool(outcome.untried))
                self._last, self.running, self.answers = outcome.rendered, outcome.rendered.hash, True
                self.served = self._desired.by_source(outcome.rendered.served)
                self.stats.success = time.time()
            else:
                self._schedule.failed(now)
            sources = self._desired.sources
        if outcome.rendered and sources != self._saved:
            self._stored.save(routes_to_json(sources))
            self._saved = sources
        self._files.clean({self._last.hash if self._last else "", self._before.hash if self._before else ""})

    def _note(self, outcome: Outcome, seconds: float) -> None:
        if outcome.reloaded and outcome.proven and outcome.rendered:
            self.stats.reloads += 1
            keys = {key for key, _, _ in outcome.rendered.served}
            nodes = sum(1 for _, address, _ in outcome.rendered.served if address)
            text = f"reloaded: {len(keys)} keys, {nodes} nodes, in {seconds * 1000:.0f} ms ({outcome.rendered.hash})"
            self._events.write("reload", text)
        elif not outcome.proven:
            self.stats.failures += 1
        if outcome.error and outcome.error != self.error:
            self._events.write("warning", f"nginx: {outcome.error}")
        if self.error and not outcome.error:
            self._events.write("nginx", "all is as it should be again")
        if outcome.untried and not self.untried:
            text = f"nginx: {len(outcome.untried)} keys wait to be tried, as nginx refuses many: others are served"
            self._events.write("warning", text)
        for key in sorted(outcome.quarantined.keys() - outcome.untried - (self.quarantined.keys() - self.untried)):
            self._events.write("warning", f"nginx: {key} is set aside: {outcome.quarantined[key]}", key=key)
        known = set(self.problems)
        for problem in outcome.rendered.problems if outcome.rendered else ():
            if str(problem) not in known and problem.key not in outcome.quarantined:
                self._events.write("warning", f"nginx: {problem}", problem.container, key=problem.key)


def _by_key(routes: Desired) -> dict[str, frozenset[Route]]:
    by_key: dict[str, set[Route]] = {}
    for route in routes.values():
        by_key.setdefault(route.entry.key, set()).add(route)
    return {key: frozenset(of_key) for key, of_key in by_key.items()}
