"""nginx mode in Prometheus' words."""

from __future__ import annotations

from collections.abc import Iterator

import prometheus_client.core as prometheus
from prometheus_client.registry import Collector

from fastroute.controller.nginx_mode.applier import NginxApplier


class NginxCollector(Collector):
    """Numbers of one applier."""

    def __init__(self, applier: NginxApplier) -> None:
        self._applier = applier

    def collect(self) -> Iterator[prometheus.Metric]:
        """All of them."""
        stats = self._applier.stats
        reloads = prometheus.CounterMetricFamily(
            "fastroute_nginx_reloads", "Configurations brought to nginx, by how it ended", labels=["result"]
        )
        reloads.add_metric(["done"], stats.reloads)
        reloads.add_metric(["failed"], stats.failures)
        yield reloads
        yield prometheus.CounterMetricFamily("fastroute_nginx_tests", "Candidates tested", value=stats.tests)
        gauges = (
            ("reload_seconds", "From rendering to proof, the last time", stats.seconds),
            (
                "last_success_timestamp_seconds",
                "When nginx last served all as wanted, since 1970",
                stats.success or 0,
            ),
            ("keys_aside", "Keys kept out because nginx refuses them", len(self._applier.quarantined)),
            ("up", "1 while nginx answers which configuration it runs", int(self._applier.answers)),
        )
        for name, text, value in gauges:
            yield prometheus.GaugeMetricFamily(f"fastroute_nginx_{name}", text, value=value)
