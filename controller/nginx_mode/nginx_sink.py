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
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.journal import Journal
from fastroute.controller.nginx.agent_link import AgentNginx
from fastroute.controller.nginx.local import CannotAsk, LocalNginx, Nginx
from fastroute.controller.nginx_mode.apply_config import Outcome, Reload, Step, Swap, trial
from fastroute.controller.nginx_mode.desired_routes import Wanted, absences
from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.isolate import Check
from fastroute.controller.nginx_mode.named_nodes import expanded, name_of
from fastroute.controller.nginx_mode.nginx_config import Absent, Rendered, State
from fastroute.controller.nginx_mode.preview import look_of, preview
from fastroute.controller.nginx_mode.reload_schedule import Pace
from fastroute.controller.nginx_mode.user_templates import Customs, CustomsProblem, read_customs
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import View
from fastroute.router.runtime.logs import timestamp
from fastroute.router.runtime.resolver import Resolver

#: Seconds between looks at the running nginx; how long the first configuration waits for every source to speak.
LOOK, PATIENCE = 2.0, 30.0

log = logging.getLogger("fastroute.controller.nginx")


@dataclass(slots=True)
class Numbers:
    """Counts for metrics and status.  ``seconds``: how long the last trial took; ``success``: when one ended well, in
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
        journal: Journal,
        views: Callable[[], Iterable[View]],
        nginx: Nginx | None = None,
    ) -> None:
        self._settings, self._journal, self._views = settings, journal, views
        self._look = look_of(settings)
        self._nginx = nginx or reach(settings)
        self._files = Generations(settings.nginx_conf_dir)
        self.path = Path(settings.nginx_template_dir or settings.nginx_conf_dir)
        self.read = ReadFile(str(self.path))
        self.numbers = Numbers()
        #: What nginx serves, by source; whether it answered at the last look; why not all is as wanted; keys set aside,
        #: and those of them that are not decided yet.
        self.served: list[tuple[Desired, str]] = []
        self.answers = False
        self.error = ""
        self.aside: Mapping[str, str] = {}
        self.untried = self._dropped = frozenset[str]()
        self._lock = threading.Condition()
        self._wanted, self._pace = Wanted(), Pace(settings.nginx_min_interval)
        self._resolver = Resolver(self._resolved)
        self._fresh = read_customs(settings.nginx_template_dir)
        self._good: Customs | None = None
        self._before: Rendered | None = None
        self._last: Rendered | None = None
        # What a key looked like when it was set aside, and with which of the user's files.
        self._refused: dict[str, tuple[object, Customs]] = {}
        self._running = ""
        self._told: Mapping[str, tuple[Absent, ...]] = {}
        self._stopping = False
        self._waits_until = 0.0
        self._thread = threading.Thread(target=self._run, name="nginx", daemon=True)

    # From other threads.

    def part(self, source: Callable[[], str]) -> _Part:
        """The sink of one source; ``source`` tells its name once there is something to apply."""
        self._wanted.expected += 1
        return _Part(self, self._wanted.expected - 1, source)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, part: int, source: str, desired: Desired) -> None:
        """One source's desired state."""
        with self._lock:
            now = time.monotonic()
            self._waits_until = self._waits_until or now + PATIENCE
            self._pace.changed(now, self._wanted.put(part, source, desired, now))
            self._resolver.watch(filter(None, (name_of(route)[0] for route in self._wanted.routes(now).values())))
            self._lock.notify()

    def _resolved(self, host: str) -> None:
        """A name means something else; the resolver's thread."""
        with self._lock:
            self._pace.changed(time.monotonic())
            self._lock.notify()

    def reread(self) -> None:
        """The user's templates or includes changed."""
        if self._settings.nginx_template_dir is None:
            return
        try:
            fresh = read_customs(self._settings.nginx_template_dir)
        except CustomsProblem as problem:
            if self.read.failed(str(problem)):
                self._journal.note("warning", f"{problem}; templates and includes stay as they were")
            return
        self.read.succeeded()
        with self._lock:
            self._fresh = fresh
            self._pace.changed(time.monotonic())
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
        if not self.numbers.success and not self.error:
            return "nginx serves nothing of this controller yet"
        return self.error if self.answers or self.error else "nginx does not answer"

    def status(self) -> dict[str, object]:
        """As JSON."""
        numbers = self.numbers
        return {
            "mode": "nginx",
            "answers": self.answers,
            "generation": self._running or None,
            "error": self.error or None,
            "aside": [{"key": key, "reason": self.aside[key]} for key in sorted(self.aside)],
            "problems": [str(problem) for problem in self._last.problems] if self._last else [],
            "reloads": numbers.reloads,
            "failures": numbers.failures,
            "seconds": round(numbers.seconds, 3),
            "last_success": timestamp(numbers.success) if numbers.success else None,
        }

    def in_flight(self) -> dict[RouteKey, int]:
        """nginx counts no requests by node."""
        return {}

    def preview(self) -> dict[str, object]:
        """What would be written now, and what is; ``CustomsProblem`` or ``TemplateProblem``."""
        with self._lock:
            state = self._state(time.monotonic())
        return preview(self._settings, state)

    # The thread.

    def _run(self) -> None:
        self._before = self._files.current()
        looked = 0.0
        while True:
            with self._lock:
                now = time.monotonic()
                if self._stopping:
                    return
                due = self._due(now)
                if due > now and looked + LOOK > now:
                    self._lock.wait(min(due, looked + LOOK) - now)
                    continue
            try:
                if looked + LOOK <= now:
                    looked = now
                    self._look_at_nginx()
                if due <= now:
                    self._try()
            except Exception:
                log.exception("nginx mode: this should not happen; tried again")
                with self._lock:
                    self._pace.failed(time.monotonic())

    def _due(self, now: float) -> float:
        """When the next trial is; with the lock."""
        if self._wanted.expire(now):
            self._pace.changed(now)
        due = self._pace.due
        if due is None:
            return self._wanted.next_expiry or now + LOOK
        return due if self._wanted.complete else max(due, self._waits_until)

    def _look_at_nginx(self) -> None:
        try:
            self._running = self._nginx.running()
        except CannotAsk:
            self._running = ""
        answers = bool(self._running)
        if answers != self.answers and self.numbers.success:
            self._journal.note("nginx", "answers again" if answers else "does not answer any more")
        self.answers = answers
        other = answers and self._last is not None and self._running != self._last.hash
        with self._lock:
            now = time.monotonic()
            if other or (self._last is not None and not self.error and self._reworded(now)):
                self._pace.changed(now)

    def _reworded(self, now: float) -> bool:
        """The comments would be other ones."""
        state = self._state(now)
        return state.absent != self._told and self._pace.due is None

    def _state(self, now: float) -> State:
        routes = expanded(self._wanted.routes(now), self._resolver.addresses)
        looks = _by_key(routes)
        aside = {
            key: self.aside[key]
            for key, (then, customs) in self._refused.items()
            if customs is self._fresh and then == looks.get(key, frozenset()) and key in self.aside
        }
        return State(routes, absences(self._views(), routes), aside, self._dropped & aside.keys())

    def _try(self) -> None:
        with self._lock:
            self._pace.begun()
            began = time.monotonic()
            state, fresh = self._state(began), self._fresh
        self._told = state.absent
        try:
            self._running = self._nginx.running()
            outcome = self._carry_out(trial(state, fresh, self._good, self._look, self._before, self._running))
        except (CannotAsk, OSError) as problem:
            text = str(problem) if isinstance(problem, CannotAsk) else f"{self._settings.nginx_conf_dir}: {problem}"
            outcome = Outcome(None, self._good, text, state.aside, dropped=state.dropped)
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
                self.numbers.tests += 1
                self._files.write(step.rendered)
                return self._nginx.test(step.rendered.hash)
            case Swap():
                self._files.swap(step.rendered)
                self._before = step.rendered
                return ""
            case Reload():
                with self._lock:
                    self._pace.reloaded(time.monotonic())
                return self._nginx.reload(step.rendered.hash)

    def _take(self, outcome: Outcome, state: State, fresh: Customs, began: float) -> None:
        now = time.monotonic()
        self.numbers.seconds = now - began
        self._tell(outcome, now - began)
        looks = _by_key(state.desired)
        self._refused = {
            key: self._refused[key] if key in state.aside else (looks.get(key, frozenset()), fresh)
            for key in outcome.aside.keys() - outcome.untried
        }
        self.error, self.aside = outcome.error, outcome.aside
        self.untried, self._dropped = outcome.untried, outcome.dropped
        if outcome.customs is not None:
            self._good = outcome.customs
        with self._lock:
            if outcome.proven and outcome.rendered:
                self._pace.succeeded(now, unfinished=bool(outcome.untried))
                self._last, self._running, self.answers = outcome.rendered, outcome.rendered.hash, True
                self.served = self._wanted.by_source(outcome.rendered.served)
                self.numbers.success = time.time()
            else:
                self._pace.failed(now)
        self._files.clean({self._last.hash if self._last else "", self._before.hash if self._before else ""})

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        if outcome.reloaded and outcome.proven and outcome.rendered:
            self.numbers.reloads += 1
            keys = {key for key, _, _ in outcome.rendered.served}
            nodes = sum(1 for _, address, _ in outcome.rendered.served if address)
            text = f"reloaded: {len(keys)} keys, {nodes} nodes, in {seconds * 1000:.0f} ms ({outcome.rendered.hash})"
            self._journal.note("reload", text)
        elif not outcome.proven:
            self.numbers.failures += 1
        if outcome.error and outcome.error != self.error:
            self._journal.note("warning", f"nginx: {outcome.error}")
        if self.error and not outcome.error:
            self._journal.note("nginx", "all is as it should be again")
        if outcome.untried and not self.untried:
            text = f"nginx: {len(outcome.untried)} keys wait to be tried, as nginx refuses many: others are served"
            self._journal.note("warning", text)
        for key in sorted(outcome.aside.keys() - outcome.untried - (self.aside.keys() - self.untried)):
            self._journal.note("warning", f"nginx: {key} is set aside: {outcome.aside[key]}", key=key)
        said = {str(problem) for problem in self._last.problems} if self._last else set()
        for problem in outcome.rendered.problems if outcome.rendered else ():
            if str(problem) not in said and problem.key not in outcome.aside:
                self._journal.note("warning", f"nginx: {problem}", problem.container, key=problem.key)


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


def reach(settings: ControllerSettings) -> Nginx:
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
