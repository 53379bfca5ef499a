"""The controller's metrics, in Prometheus' words.  Names are docker-like facts first: connected, events, drift, states.

Numbers live where they arise (:mod:`.stats`, the board); they are read when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import prometheus_client.core as prometheus
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import fastroute
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.mode import Mode
from fastroute.controller.route_sources import RouteSources
from fastroute.controller.views import View
from fastroute.router.admin_http.connections import OpenConnections

STATES = ("pending", "probing", "ready", "draining", "unhealthy", "paused", "stopped", "disabled", "error")
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class ConnectionsCollector(Collector):
    """Of the admin servers: their ``connections``, by the name of each."""

    def __init__(self, connections: Mapping[str, OpenConnections]) -> None:
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """See :class:`Collector`."""
        labels = ["server", "reason"]
        open_now = prometheus.GaugeMetricFamily(
            "fastroute_server_connections", "Connections to the admin sockets", labels=labels[:1]
        )
        ended = prometheus.CounterMetricFamily(
            "fastroute_server_connections_ended",
            "Connections that gave way: slow (the peer took too long) or limit (there were too many)",
            labels=labels,
        )
        for name, connections in self._connections.items():
            open_now.add_metric([name], len(connections))
            for reason, count in connections.ended.items():
                ended.add_metric([name, reason], count)
        yield open_now
        yield ended


class Timings:
    """Histograms that are filled where things happen."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._event_to_route = Histogram(
            "fastroute_event_to_route_seconds",
            "From the arrival of a Docker event to the order to routers (or nginx) that follows from it",
            ["op"],
            buckets=_BUCKETS,
            registry=registry,
        )
        for op in ("add", "remove"):
            self._event_to_route.labels(op)
        self._acks = Histogram(
            "fastroute_subscription_ack_seconds",
            "From the first packet with a change to the router's ack: every relay has applied it",
            buckets=_BUCKETS,
            registry=registry,
        )

    def decided(self, seconds: float, op: str) -> None:
        """An order went out, so long after the event; ``op`` is ``remove`` if anything leaves, else ``add``."""
        self._event_to_route.labels(op).observe(seconds)

    def acked(self, seconds: float) -> None:
        """A router acked a change."""
        self._acks.observe(seconds)


def collect_from(registry: CollectorRegistry, sources: RouteSources, files: Sequence[ReadFile], mode: Mode) -> None:
    """Let ``registry`` show the numbers of ``sources``, ``files`` and ``mode``."""
    registry.register(_Collector(sources, files, mode))
    for collector in mode.collectors():
        registry.register(collector)


class _Collector(Collector):
    def __init__(self, sources: RouteSources, files: Sequence[ReadFile], mode: Mode) -> None:
        self._sources, self._files, self._mode = sources, files, mode

    @staticmethod
    def _tasks(views: Iterable[View]) -> Metric:
        """What joins the routers' series, by key and node, with the tasks of a swarm."""
        labels = ["key", "node", "service", "task", "swarm_node"]
        tasks = prometheus.GaugeMetricFamily("fastroute_task_info", "1 for each route of a swarm's task", labels=labels)
        for view in views:
            named = [str(view.task[name] or "") for name in ("service", "task", "node")]
            for status in view.offer.statuses if view.task["task"] else ():
                if status.address:
                    tasks.add_metric([status.key, status.address, *named], 1)
        return tasks

    def collect(self) -> Iterator[prometheus.Metric]:
        """Everything but the histogram."""
        yield from self._of_docker()
        yield from self._of_containers()
        yield from self._of_files()
        packets = prometheus.CounterMetricFamily(
            "fastroute_subscription_packets", "Packets to routers and what became of them", labels=["op", "result"]
        )
        for names, number in sorted(self._mode.packets().items()):
            packets.add_metric(names, number)
        yield packets
        build = prometheus.GaugeMetricFamily("fastroute_build_info", "The version that runs", labels=["version"])
        build.add_metric([fastroute.__version__], 1)
        yield build

    def _of_docker(self) -> Iterator[prometheus.Metric]:
        stats, now, wall = [engine.stats for engine in self._sources.engines], time.monotonic(), time.time()
        text = "1 while the events of every Docker engine arrive"
        connected = all(engine.connected for engine in stats)
        yield prometheus.GaugeMetricFamily("fastroute_docker_connected", text, value=connected)
        by_engine = prometheus.GaugeMetricFamily(
            "fastroute_engine_connected", "1 while the engine's events arrive", labels=["engine"]
        )
        for engine in self._sources.engines:
            by_engine.add_metric([engine.url], engine.stats.connected)
        yield by_engine
        reconnects = sum(max(engine.connects - 1, 0) for engine in stats)
        text = "Connections to Docker after the first of each engine"
        yield prometheus.CounterMetricFamily("fastroute_docker_reconnects", text, value=reconnects)
        events = [engine.last_event for engine in stats if engine.last_event is not None]
        syncs = [engine.last_sync for engine in stats if engine.last_sync is not None]
        for name, at in (("event", max(events, default=None)), ("sync", min(syncs, default=None))):
            if at is not None:
                text = f"When the last {name} was, in seconds since 1970"
                yield prometheus.GaugeMetricFamily(f"fastroute_last_{name}_timestamp_seconds", text, wall - now + at)
        yield prometheus.GaugeMetricFamily(
            "fastroute_sync_duration_seconds",
            "How long the last comparison's list took (the slowest engine's)",
            value=max((engine.sync_seconds for engine in stats), default=0.0),
        )
        failures = sum(engine.list_failures for engine in stats)
        yield prometheus.CounterMetricFamily("fastroute_list_failures", "Lists that failed", value=failures)
        counted, drift = Counter[str](), Counter[str]()
        for engine_stats in stats:
            counted.update(engine_stats.events.copy())
            drift.update(engine_stats.drift.copy())
        yield _counter("fastroute_docker_events", "Docker events by action", "action", counted.items())
        kinds = [(kind, drift[kind]) for kind in ("appeared", "changed", "gone")]
        yield _counter("fastroute_sync_drift", "Differences found that no event had told of", "kind", kinds)

    def _of_containers(self) -> Iterator[prometheus.Metric]:
        views = [view for engine in self._sources.engines for view in engine.statuses.views().values()]
        counts = Counter(view.offer.state for view in views)
        states = prometheus.GaugeMetricFamily("fastroute_containers", "Labelled containers by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], counts[state])
        yield states
        errors = prometheus.GaugeMetricFamily(
            "fastroute_label_errors", "Containers whose labels or networks are wrong", labels=["container"]
        )
        for name in sorted({view.offer.name for view in views if view.offer.state == "error"}):
            errors.add_metric([name], 1)
        yield errors
        yield self._tasks(views)
        nodes = Counter(
            (key, "draining" if route.entry.drain else "ready")
            for desired, _ in self._sources.desired()
            for (key, address, _), route in desired.items()
            if address
        )
        family = prometheus.GaugeMetricFamily(
            "fastroute_key_nodes", "Nodes of a key as told to routers", labels=["key", "state"]
        )
        for (key, state), number in sorted(nodes.items()):
            family.add_metric([key, state], number)
        yield family

    def _of_files(self) -> Iterator[prometheus.Metric]:
        good = prometheus.GaugeMetricFamily(
            "fastroute_config_last_reload_successful", "1 while what the file says is in force", labels=["file"]
        )
        when = prometheus.GaugeMetricFamily(
            "fastroute_config_last_reload_success_timestamp_seconds",
            "When the file was taken over last",
            labels=["file"],
        )
        for file in self._files:
            good.add_metric([file.file], not file.problem)
            if file.read_at is not None:
                when.add_metric([file.file], file.read_at)
        yield from (good, when)


def _counter(name: str, text: str, label: str, values: Iterable[tuple[str, int]]) -> prometheus.Metric:
    family = prometheus.CounterMetricFamily(name, text, labels=[label])
    for value, number in sorted(values):
        family.add_metric([value], number)
    return family
