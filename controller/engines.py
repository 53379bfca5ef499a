"""All Docker engines of one controller: each has its reconciler, its loop and its thread, and none waits for another.

Each engine is a source of its own to the routers: one that can't be reached takes no routes of another with it, and
what was announced for it stays until it is looked at again.
"""

from __future__ import annotations

import hashlib
import queue
import random
import threading
from collections.abc import Callable
from functools import partial

from fastroute.controller.decide.messages import Engine, Message
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.decide.scope import Scope
from fastroute.controller.desired import Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.loop import DockerEngine, Loop
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.swarm.board import SwarmBoard

#: Seconds that a signal may go unnoticed: one that comes just before a wait begins does not end that wait.
SIGNAL_POLL_INTERVAL = 0.5


class Engines:
    """The engines of ``settings``.  ``make_sink`` gets what tells the source's name once it is known; ``decided`` is
    called with the seconds from event to order, and ``add`` or ``remove``."""

    def __init__(
        self,
        settings: ControllerSettings,
        events: ControllerEvents,
        make_sink: Callable[[Callable[[], str]], Sink],
        decided: Callable[[float, str], None],
        swarm: SwarmBoard,
    ) -> None:
        self.reconcilers: list[Reconciler] = []
        self._loops: list[Loop] = []
        self._lock, self._sources = threading.Lock(), dict[str, int]()
        # A call, or how a thread ended: what it raised, if anything.
        self._inbox: queue.SimpleQueue[Callable[[], None] | BaseException | None] = queue.SimpleQueue()
        for number, host in enumerate(settings.docker_host):
            state = StateFile.of_engine(settings.state_dir, host.url)
            reconciler = self._reconciler(settings, number, state.load())
            sink = make_sink(lambda reconciler=reconciler: reconciler.source)  # type: ignore[misc]
            self.reconcilers.append(reconciler)
            name_source = partial(self._source, settings, events, number)
            loop = Loop(
                reconciler,
                DockerEngine(host.url, settings.label_prefix, swarm.heard),
                sink,
                events,
                decided,
                name_source=name_source,
                keep=state.save,
            )
            self._loops.append(loop)

    def _reconciler(self, settings: ControllerSettings, number: int, kept: object) -> Reconciler:
        host = settings.docker_host[number]
        return Reconciler(
            Scope.of(settings, host.machine if host.published else ""),
            settings.resync,
            random.uniform,
            url=host.url,
            exclusive=settings.exclusive_keys,
            several=len(settings.docker_host) > 1,
            kept=kept,
            told_by_others=bool(settings.peers),
        )

    def _source(self, settings: ControllerSettings, events: ControllerEvents, number: int, engine: Engine) -> str:
        """The engine's name; two URLs of one engine must not take each other's routes away, so they get two."""
        name = source_name(settings, engine, number)
        with self._lock:
            while (other := self._sources.setdefault(name, number)) != number:
                urls = f"{settings.docker_host[other].url} and {settings.docker_host[number].url}"
                text = f"{urls} are the same Docker engine: each of its containers is announced twice"
                events.write("warning", text)
                name = f"{name[:62]}-{number}"
        return name

    @property
    def posts(self) -> list[Callable[[Message], None]]:
        """For each engine what tells its deciding thread, from any thread."""
        return [loop.post for loop in self._loops]

    def stop(self) -> None:
        """Let :meth:`run` return; safe in a signal handler."""
        for loop in self._loops:
            loop.stop()

    def call(self, function: Callable[[], None]) -> None:
        """Let the thread in :meth:`run` call ``function``; safe in a signal handler."""
        self._inbox.put(function)

    def run(self) -> None:
        """Decide until :meth:`stop`; raises what one of the threads raised, as the program is of no use then."""
        threads = [
            threading.Thread(target=self._run_one, args=(loop,), name=f"engine-{number}", daemon=True)
            for number, loop in enumerate(self._loops)
        ]
        for thread in threads:
            thread.start()
        failure: BaseException | None = None
        running = len(threads)
        while running:
            try:
                item = self._inbox.get(timeout=SIGNAL_POLL_INTERVAL)
            except queue.Empty:
                continue
            if callable(item):
                item()
                continue
            running, failure = running - 1, failure or item
            self.stop()
        if failure is not None:
            raise failure

    def _run_one(self, loop: Loop) -> None:
        failure: BaseException | None = None
        try:
            loop.run()
        except BaseException as error:
            failure = error
        self._inbox.put(failure)


def source_name(settings: ControllerSettings, engine: Engine | None, number: int = 0) -> str:
    """Who the engine is to the routers: the same when the controller is recreated, another for another engine or
    selection.  ``--name`` is the first engine's (``number`` 0); the others have their engine's id behind it."""
    id = engine.id if engine else ""
    if settings.name is None:
        return source_of_node(settings, engine.swarm.id if engine and engine.swarm else id)
    return settings.name if not number else f"{settings.name[:51]}-{_digest(id)}"


def source_of_node(settings: ControllerSettings, id: str) -> str:
    """Who a controller with such settings is to the routers: at the engine ``id``, or at the node ``id`` of a swarm,
    whose engines may be copies of one machine, with one id."""
    return f"docker-{_digest(id, settings.label_prefix, *sorted(settings.filter))}"


def static_source_name(settings: ControllerSettings) -> str:
    """Who the static file is to the routers: several controllers with one at the same router need a ``--name`` each."""
    engines = (host.url for host in settings.docker_host)
    return f"static-{_digest(settings.name or '', settings.static or '', *engines)}"


def key_source_name(settings: ControllerSettings, engine: str) -> str:
    """Who the keys that operators hold are announced by; ``engine``: the name of the first engine, if known by now.
    Empty: it can't be said yet."""
    name = settings.name or engine
    return f"{name[:55]}-operator" if name else ""


def _digest(*parts: str) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=6).hexdigest()
