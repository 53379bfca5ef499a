"""The sink of nginx mode: a thread of its own makes nginx serve what is desired, and looks whether it still does.

An edge: :mod:`.reload_schedule` says when, :mod:`.apply_config` says which step is next; this file carries it
out and publishes the result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastroute.controller.desired import Desired, Route, RouteKey
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.nginx.agent_link import AgentNginx
from fastroute.controller.nginx.local import LocalNginx, Nginx, NginxUnreachable
from fastroute.controller.nginx_mode.apply_config import Outcome, Reload, Step, Swap, apply_config
from fastroute.controller.nginx_mode.desired_routes import DesiredRoutes, absences
from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.isolate import Check
from fastroute.controller.nginx_mode.named_nodes import expanded, name_of
from fastroute.controller.nginx_mode.nginx_config import AbsentContainer, ConfigState, Rendered
from fastroute.controller.nginx_mode.preview import nginx_options, preview
from fastroute.controller.nginx_mode.reload_schedule import ReloadSchedule
from fastroute.controller.nginx_mode.user_templates import UserTemplates, UserTemplatesProblem, read_user_templates
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import View
from fastroute.router.runtime.logs import timestamp
from fastroute.router.runtime.resolver import Resolver

#: Seconds between polls of the running nginx.
STATUS_POLL_INTERVAL = 2.0
#: Seconds for which the first configuration waits for the sources that have not applied anything yet.
FIRST_CONFIG_TIMEOUT = 30.0

log = logging.getLogger("fastroute.controller.nginx")


@dataclass(slots=True)
class ApplyStats:
    """Counts for metrics and status.  ``seconds``: how long the last attempt took; ``success``: when one ended well, in
    seconds since 1970."""

    reloads: int = 0
    failures: int = 0
    tests: int = 0
    seconds: float = 0.0
    success: float | None = None


class NginxSink:
    """All of nginx mode for one controller; ``views`` tells of the containers."""

    def __init__(
        self,
        settings: ControllerSettings,
        events: ControllerEvents,
        views: Callable[[], Iterable[View]],
        nginx: Nginx | None = None,
    ) -> None:
        self._settings, self._events, self._views = settings, events, views
        self._options = nginx_options(settings)
        self._nginx = nginx or nginx_of(settings)
        self._files = Generations(settings.nginx_conf_dir)
        self.path = Path(settings.nginx_template_dir or settings.nginx_conf_dir)
        self.read = ReadFile(str(self.path))
        self.stats = ApplyStats()
        #: What nginx serves, by source; whether it answered at the last poll; why not all is as wanted; keys set aside,
        #: and those of them that are not decided yet.
        self.served: list[tuple[Desired, str]] = []
        self.answers = False
        self.error = ""
        self.quarantined: Mapping[str, str] = {}
        self.untried = self._dropped = frozenset[str]()
        self._lock = threading.Condition()
        self._desired, self._schedule = DesiredRoutes(), ReloadSchedule(settings.nginx_min_interval)
        self._resolver = Resolver(self._resolved)
        self._fresh = read_user_templates(settings.nginx_template_dir)
        self._good: UserTemplates | None = None
        self._before: Rendered | None = None
        self._last: Rendered | None = None
        # What a key looked like when it was set aside, and with which of the user's files.
        self._refused: dict[str, tuple[object, UserTemplates]] = {}
        self._running = ""
        self._rendered_absences: Mapping[str, tuple[AbsentContainer, ...]] = {}
        self._stopping = False
        self._waits_until = 0.0
        self._thread = threading.Thread(target=self._run, name="nginx", daemon=True)

    # From other threads.

    def part(self, source: Callable[[], str]) -> _Part:
        """The sink of one source; ``source`` tells its name once there is something to apply."""
        self._desired.expected += 1
        return _Part(self, self._desired.expected - 1, source)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, part: int, source: str, desired: Desired) -> None:
        """One source's desired state."""
        with self._lock:
            now = time.monotonic()
            self._waits_until = self._waits_until or now + FIRST_CONFIG_TIMEOUT
            self._schedule.changed(now, self._desired.put(part, source, desired, now))
            self._resolver.watch(filter(None, (name_of(route)[0] for route in self._desired.routes(now).values())))
            self._lock.notify()

    def _resolved(self, host: str) -> None:
        """A name means something else; the resolver's thread."""
        with self._lock:
            self._schedule.changed(time.monotonic())
            self._lock.notify()

    def reread(self) -> None:
        """The user's templates or includes changed."""
        if self._settings.nginx_template_dir is None:
            return
        try:
            fresh = read_user_templates(self._settings.nginx_template_dir)
        except UserTemplatesProblem as problem:
            if self.read.failed(str(problem)):
                self._events.write("warning", f"{problem}; templates and includes stay as they were")
            return
        self.read.succeeded()
        with self._lock:
            self._fresh = fresh
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

    def trouble(self) -> str:
        """Why nginx does not serve what is desired; empty: it does."""
        if not self.stats.success and not self.error:
            return "nginx serves nothing of this controller yet"
        return self.error if self.answers or self.error else "nginx does not answer"

    def status(self) -> dict[str, object]:
        """As JSON."""
        stats = self.stats
        return {
            "mode": "nginx",
            "answers": self.answers,
            "generation": self._running or None,
            "error": self.error or None,
            "aside": [{"key": key, "reason": self.quarantined[key]} for key in sorted(self.quarantined)],
            "problems": [str(problem) for problem in self._last.problems] if self._last else [],
            "reloads": stats.reloads,
            "failures": stats.failures,
            "seconds": round(stats.seconds, 3),
            "last_success": timestamp(stats.success) if stats.success else None,
        }

    def in_flight(self) -> dict[RouteKey, int]:
        """nginx counts no requests by node."""
        return {}

    def preview(self) -> dict[str, object]:
        """What would be written now, and what is; ``UserTemplatesProblem`` or ``TemplateProblem``."""
        with self._lock:
            state = self._state(time.monotonic())
        return preview(self._settings, state)

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
                    self._try()
            except Exception:
                log.exception("nginx mode: this should not happen; tried again")
                with self._lock:
                    self._schedule.failed(time.monotonic())

    def _due(self, now: float) -> float:
        """When the next attempt is; with the lock."""
        if self._desired.expire(now):
            self._schedule.changed(now)
        due = self._schedule.due
        if due is None:
            return self._desired.next_expiry or now + STATUS_POLL_INTERVAL
        return due if self._desired.complete else max(due, self._waits_until)

    def _poll_status(self) -> None:
        try:
            self._running = self._nginx.running()
        except NginxUnreachable:
            self._running = ""
        answers = bool(self._running)
        if answers != self.answers and self.stats.success:
            self._events.write("nginx", "answers again" if answers else "does not answer any more")
        self.answers = answers
        other = answers and self._last is not None and self._running != self._last.hash
        with self._lock:
            now = time.monotonic()
            if other or (self._last is not None and not self.error and self._reworded(now)):
                self._schedule.changed(now)

    def _reworded(self, now: float) -> bool:
        """The comments would be other ones."""
        state = self._state(now)
        return state.absent != self._rendered_absences and self._schedule.due is None

    def _state(self, now: float) -> ConfigState:
        routes = expanded(self._desired.routes(now), self._resolver.addresses)
        routes_by_key = _by_key(routes)
        quarantined = {
            key: self.quarantined[key]
            for key, (then, user_templates) in self._refused.items()
            if user_templates is self._fresh and then == routes_by_key.get(key, frozenset()) and key in self.quarantined
        }
        return ConfigState(routes, absences(self._views(), routes), quarantined, self._dropped & quarantined.keys())

    def _try(self) -> None:
        with self._lock:
            self._schedule.begun()
            began = time.monotonic()
            state, fresh = self._state(began), self._fresh
        self._rendered_absences = state.absent
        try:
            self._running = self._nginx.running()
            outcome = self._carry_out(
                apply_config(state, fresh, self._good, self._options, self._before, self._running)
            )
        except (NginxUnreachable, OSError) as problem:
            text = (
                str(problem) if isinstance(problem, NginxUnreachable) else f"{self._settings.nginx_conf_dir}: {problem}"
            )
            outcome = Outcome(None, self._good, text, state.quarantined, dropped=state.dropped)
        self._take(outcome, state, fresh, began)

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

    def _take(self, outcome: Outcome, state: ConfigState, fresh: UserTemplates, began: float) -> None:
        now = time.monotonic()
        self.stats.seconds = now - began
        self._tell(outcome, now - began)
        routes_by_key = _by_key(state.desired)
        self._refused = {
            key: self._refused[key] if key in state.quarantined else (routes_by_key.get(key, frozenset()), fresh)
            for key in outcome.quarantined.keys() - outcome.untried
        }
        self.error, self.quarantined = outcome.error, outcome.quarantined
        self.untried, self._dropped = outcome.untried, outcome.dropped
        if outcome.user_templates is not None:
            self._good = outcome.user_templates
        with self._lock:
            if outcome.proven and outcome.rendered:
                self._schedule.succeeded(now, unfinished=bool(outcome.untried))
                self._last, self._running, self.answers = outcome.rendered, outcome.rendered.hash, True
                self.served = self._desired.by_source(outcome.rendered.served)
                self.stats.success = time.time()
            else:
                self._schedule.failed(now)
        self._files.clean({self._last.hash if self._last else "", self._before.hash if self._before else ""})

    def _tell(self, outcome: Outcome, seconds: float) -> None:
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
        said = {str(problem) for problem in self._last.problems} if self._last else set()
        for problem in outcome.rendered.problems if outcome.rendered else ():
            if str(problem) not in said and problem.key not in outcome.quarantined:
                self._events.write("warning", f"nginx: {problem}", problem.container, key=problem.key)


class _Part:
    """A :class:`~fastroute.controller.desired.Sink`."""

    def __init__(self, sink: NginxSink, number: int, source: Callable[[], str]) -> None:
        self._sink, self._number, self._source = sink, number, source

    def apply(self, desired: Desired) -> None:
        """Let nginx serve it."""
        self._sink.put(self._number, self._source(), desired)

    def status(self) -> dict[str, object]:
        """The whole sink's."""
        return self._sink.status()


def nginx_of(settings: ControllerSettings) -> Nginx:
    """nginx as the options reach it."""
    if settings.nginx_agent:
        return AgentNginx(settings.nginx_agent)
    where = settings.nginx_conf_dir, settings.nginx_test, settings.nginx_reload
    return LocalNginx(*where, str(settings.nginx_status))


def _by_key(routes: Desired) -> dict[str, frozenset[Route]]:
    found: dict[str, set[Route]] = {}
    for route in routes.values():
        found.setdefault(route.entry.key, set()).add(route)
    return {key: frozenset(of_key) for key, of_key in found.items()}
