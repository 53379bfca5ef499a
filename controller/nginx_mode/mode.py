"""nginx mode: nginx itself serves the routes, from a configuration that is made, tested and reloaded here."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from prometheus_client.registry import Collector

from fastroute.controller import views
from fastroute.controller.desired import Desired, RouteDiff, RouteKey
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.mode import ModeContext, WatchedFile
from fastroute.controller.nginx.agent_link import AgentNginx
from fastroute.controller.nginx.local import LocalNginx, Nginx
from fastroute.controller.nginx_mode.applier import NginxApplier
from fastroute.controller.nginx_mode.metrics import NginxCollector
from fastroute.controller.nginx_mode.nginx_config import ConfigState, render
from fastroute.controller.nginx_mode.preview import nginx_options, preview
from fastroute.controller.nginx_mode.rendering import TemplateProblem, templates_of
from fastroute.controller.nginx_mode.user_templates import UserTemplates, UserTemplatesProblem, read_user_templates
from fastroute.controller.settings import ControllerSettings
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.runtime.logs import timestamp


class NginxMode:
    """A :class:`~fastroute.controller.mode.Mode`; nginx acks nothing."""

    name = "nginx"
    #: A reload waits for the one before (``--nginx-min-interval``), and is tested and proven.
    ack_timeout = 15.0

    def __init__(self, context: ModeContext) -> None:
        self._settings = settings = context.settings
        events, routes = context.events, context.routes
        self._routes = routes
        self.applier = NginxApplier(settings, events, lambda: routes.views().values(), nginx_of(settings))
        self._watched: list[WatchedFile] = []
        if settings.nginx_template_dir is not None:
            self._watched.append(_TemplateDirectory(settings.nginx_template_dir, self.applier.use_templates, events))

    @staticmethod
    def check(settings: ControllerSettings) -> None:
        """``ConfigurationError`` for a directory that can't be written, and for broken templates (FILE:LINE)."""
        check_nginx(settings)

    def sink(self, source: Callable[[], str]) -> _SourceSink:
        """See :class:`~fastroute.controller.mode.Mode`."""
        return _SourceSink(self.applier, self.applier.add_source(), source)

    def key_sink(self, source: Callable[[], str]) -> None:
        """None: nginx has no queue in which requests could wait, and is not told what operators want of a key."""

    def start(self) -> None:
        """Start the thread that applies."""
        self.applier.start()

    def lost(self, sources: Sequence[str]) -> None:
        """nginx is told of one engine's containers only."""

    def close(self) -> None:
        """Write no more; nginx goes on with what it has."""
        self.applier.close()

    def status(self) -> dict[str, object]:
        """How nginx takes what is desired."""
        applier, stats = self.applier, self.applier.stats
        quarantined = applier.quarantined
        return {
            "mode": "nginx",
            "answers": applier.answers,
            "generation": applier.running or None,
            "error": applier.error or None,
            "aside": [{"key": key, "reason": quarantined[key]} for key in sorted(quarantined)],
            "problems": applier.problems,
            "reloads": stats.reloads,
            "failures": stats.failures,
            "seconds": round(stats.seconds, 3),
            "last_success": timestamp(stats.success) if stats.success else None,
        }

    def keys(self) -> list[dict[str, object]]:
        """What the running nginx serves, by key."""
        return views.keys(self.applier.served, "" if self.applier.answers else "stale")

    def lacking(self, names: Collection[RouteKey]) -> dict[str, str]:
        """See :class:`~fastroute.controller.mode.Mode`: nginx has it once it was proven to serve it."""
        if _live(self._routes.desired(), names) == _live(self.applier.served, names):
            return {"nginx": ""}
        return {"nginx": self.applier.error or "it has not reloaded yet"}

    def in_flight(self) -> None:
        """None: nginx counts no requests by node."""

    def problem(self) -> str:
        """Why nginx does not serve what is desired; empty: it does."""
        applier = self.applier
        if not applier.stats.success and not applier.error:
            return "nginx serves nothing of this controller yet"
        return applier.error if applier.answers or applier.error else "nginx does not answer"

    def preview(self) -> dict[str, object]:
        """What would be written now, and what is; ``UserTemplatesProblem`` or ``TemplateProblem``."""
        return preview(self._settings, self.applier.state())

    def packets(self) -> dict[tuple[str, str], int]:
        """Nothing: this mode sends no packets."""
        return {}

    def collectors(self) -> list[Collector]:
        """The counts of reloads and their state."""
        return [NginxCollector(self.applier)]

    def watched(self) -> Sequence[WatchedFile]:
        """The user's template directory, if there is one."""
        return self._watched


def _live(parts: Iterable[tuple[Desired, str]], names: Collection[RouteKey]) -> dict[RouteKey, int]:
    """Those of ``names`` that get requests, with their weights."""
    routes = {id: route for desired, _ in parts for id, route in desired.items() if id in names}
    return {id: route.entry.options.weight for id, route in routes.items() if id[1] and not route.entry.drain}


class _SourceSink:
    """A :class:`~fastroute.controller.desired.Sink`."""

    def __init__(self, applier: NginxApplier, number: int, source: Callable[[], str]) -> None:
        self._applier, self._number, self._source = applier, number, source

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        """Let nginx serve ``desired``: its configuration is always rendered whole."""
        self._applier.put(self._number, self._source(), desired)


class _TemplateDirectory:
    """The user's templates and includes in ``directory``; ``use`` gets them each time that they are good."""

    def __init__(self, directory: str, use: Callable[[UserTemplates], None], events: ControllerEvents) -> None:
        self.path, self.read = Path(directory), ReadFile(str(Path(directory)))
        self._directory, self._use, self._events = directory, use, events

    def reread(self) -> None:
        """The user's templates or includes changed."""
        try:
            user_templates = read_user_templates(self._directory)
        except UserTemplatesProblem as problem:
            if self.read.failed(str(problem)):
                self._events.write("warning", f"{problem}; templates and includes stay as they were")
            return
        self.read.succeeded()
        self._use(user_templates)


def nginx_of(settings: ControllerSettings) -> Nginx:
    """nginx as the options reach it."""
    if settings.nginx_agent:
        return AgentNginx(settings.nginx_agent)
    where = settings.nginx_conf_dir, settings.nginx_test, settings.nginx_reload
    return LocalNginx(*where, str(settings.nginx_status))


def check_nginx(settings: ControllerSettings) -> None:
    """``ConfigurationError`` for a directory that can't be written, and for templates that are broken (FILE:LINE)."""
    theirs = settings.nginx_template_dir
    if theirs is not None and not os.path.isdir(theirs):
        raise ConfigurationError(f"nginx-template-dir: {theirs}: a directory expected")
    try:
        user_templates = read_user_templates(theirs)
        templates_of(user_templates).check()
        render(ConfigState({}), user_templates, nginx_options(settings))
    except (UserTemplatesProblem, TemplateProblem) as problem:
        raise ConfigurationError(f"{problem}") from None
    try:
        os.makedirs(settings.nginx_conf_dir, 0o750, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"nginx-conf-dir: {settings.nginx_conf_dir}: {error.strerror}") from None
    if not os.access(settings.nginx_conf_dir, os.W_OK | os.X_OK):
        raise ConfigurationError(f"nginx-conf-dir: {settings.nginx_conf_dir}: a directory expected that can be written")
