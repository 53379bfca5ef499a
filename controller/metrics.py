"""The controller's metrics, in Prometheus' words.  Names are docker-like facts first: connected, events, drift, states.

Numbers live where they arise (:mod:`.stats`, the board); they are read when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

import prometheus_client.core as prometheus
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.registry import Collector

import fastroute
from fastroute.controller.reconciler import Reconciler

STATES = ("pending", "probing", "ready", "draining", "unhealthy", "paused", "stopped", "disabled", "error")
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


def make_registry(reconciler: Reconciler) -> tuple[CollectorRegistry, Histogram]:
    """A registry of one controller, and the histogram of seconds from event to order."""
    registry = CollectorRegistry()
    seconds = Histogram(
        "fastroute_event_to_route_seconds",
        "From the arrival of a Docker event to the order to routers that follows from it",
        buckets=_BUCKETS,
        registry=registry,
    )
    registry.register(_Collector(reconciler))
    return registry, seconds


class _Collector(Collector):
    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def collect(self) -> Iterator[prometheus.Metric]:
        """Everything but the histogram."""
        yield from self._of_docker()
        yield from self._of_containers()
        build = prometheus.GaugeMetricFamily("fastroute_build_info", "The version that runs", labels=["version"])
        build.add_metric([fastroute.__version__], 1)
        yield build

    def _of_docker(self) -> Iterator[prometheus.Metric]:
        stats, now, wall = self._reconciler.stats, time.monotonic(), time.time()
        yield prometheus.GaugeMetricFamily(
            "fastroute_docker_connected", "1 while Docker's events arrive", value=stats.connected
        )
        yield prometheus.CounterMetricFamily(
            "fastroute_docker_reconnects", "Connections to Docker after the first", value=max(stats.connects - 1, 0)
        )
        for name, at in (("event", stats.last_event), ("sync", stats.last_sync)):
            if at is not None:
                text = f"When the last {name} was, in seconds since 1970"
                yield prometheus.GaugeMetricFamily(f"fastroute_last_{name}_timestamp_seconds", text, wall - now + at)
        yield prometheus.GaugeMetricFamily(
            "fastroute_sync_duration_seconds", "How long the last comparison's list took", value=stats.sync_seconds
        )
        yield prometheus.CounterMetricFamily("fastroute_list_failures", "Lists that failed", value=stats.list_failures)
        yield _counter("fastroute_docker_events", "Docker events by action", "action", stats.events.copy().items())
        drift = stats.drift.copy()
        kinds = [(kind, drift[kind]) for kind in ("appeared", "changed", "gone")]
        yield _counter("fastroute_sync_drift", "Differences found that no event had told of", "kind", kinds)

    def _of_containers(self) -> Iterator[prometheus.Metric]:
        views = self._reconciler.board.views().values()
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
        nodes = Counter(
            (key, "draining" if route.entry.drain else "ready")
            for (key, address, _), route in self._reconciler.desired.items()
            if address
        )
        family = prometheus.GaugeMetricFamily(
            "fastroute_key_nodes", "Nodes of a key as told to routers", labels=["key", "state"]
        )
        for (key, state), number in sorted(nodes.items()):
            family.add_metric([key, state], number)
        yield family


def _counter(name: str, text: str, label: str, values: Iterable[tuple[str, int]]) -> prometheus.Metric:
    family = prometheus.CounterMetricFamily(name, text, labels=[label])
    for value, number in sorted(values):
        family.add_metric([value], number)
    return family
