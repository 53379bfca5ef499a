"""The ``--static`` file at run time: it is read again when it changes, its nodes are probed where it asks for that,
and the sink gets the routes.

An edge.  A valid change applies at once; with an invalid one the last good content stays, and the log, the status and
the metrics say what is wrong and where until it is right.
"""

from __future__ import annotations

import threading
from pathlib import Path

from fastroute.controller.decide.messages import Probed
from fastroute.controller.decide.status_store import route_events
from fastroute.controller.desired import Desired, ProbeTarget, Route, RouteDiff, RouteKey, Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.files.static import OWNER, StaticNode, read_static
from fastroute.controller.observe.probe import Prober
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import read_file
from fastroute.router.protocol.key import example_host
from fastroute.router.protocol.subscription import Entry


class StaticFile:
    """Nodes of ``file``, whose content was good at least once; ``source`` is their name for the routers."""

    def __init__(self, file: str, source: str, sink: Sink, events: ControllerEvents) -> None:
        self.path, self.source = Path(file), source
        self.desired: Desired = {}
        self.read = ReadFile(file)
        self._sink, self._events = sink, events
        self._lock = threading.Lock()
        self._nodes: tuple[StaticNode, ...] = ()
        self._probing: set[ProbeTarget] = set()
        self._proven: set[ProbeTarget] = set()
        self._prober: Prober | None = None

    def reread(self) -> None:
        """Read the file, and apply it if it is good."""
        try:
            nodes = read_static(read_file(self.read.file), self.read.file)
        except ConfigurationError as error:
            if self.read.failed(str(error)):
                self._events.write("warning", f"{error}; the nodes of its last good content stay")
            return
        with self._lock:
            self.read.succeeded()
            self._events.write("static", f"{self.read.file}: {len(nodes)} nodes")
            self._nodes = nodes
            self._probe()
            self._apply()

    def close(self) -> None:
        """Probe no more."""
        if self._prober is not None:
            self._prober.stop()

    def _probe(self) -> None:
        wanted = {_target(node) for node in self._nodes if node.probe != "none"}
        prober = self._prober = self._prober or (Prober(self._probed) if wanted else None)
        if prober is not None:
            for target in self._probing - wanted:
                prober.cancel(target)
            for target in wanted - self._probing - self._proven:
                prober.start(target)
        self._proven &= wanted
        self._probing = wanted - self._proven

    def _probed(self, outcome: Probed) -> None:
        """On the prober's thread."""
        if outcome.problem:
            return
        with self._lock:
            if outcome.target in self._probing:
                self._probing.discard(outcome.target)
                self._proven.add(outcome.target)
                self._apply()

    def _apply(self) -> None:
        routes = [Route(self._entry(node), "") for node in self._nodes]
        served = {route.entry.key for route in routes if route.entry.address}
        desired: dict[RouteKey, Route] = {
            route.id: route for route in routes if route.entry.address or route.entry.key not in served
        }
        diff, self.desired = RouteDiff.between(self.desired, desired), desired
        for event in route_events(diff):
            self._events.write(event.kind, event.text, event.container, event.id, event.key)
        self._sink.apply(desired, diff)

    def _entry(self, node: StaticNode) -> Entry:
        if node.probe == "none" or _target(node) in self._proven:
            return node.entry
        return node.entry.for_key


def _target(node: StaticNode) -> ProbeTarget:
    path = node.probe if node.probe.startswith("/") else ""
    return ProbeTarget(OWNER, node.entry.address, node.entry.options.protocol, path, example_host(node.entry.key), 0)
