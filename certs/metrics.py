"""The metrics of ``fastroute-certs``, read when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import prometheus_client.core as prometheus
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import fastroute
from fastroute.certs.decide.outcomes import CaFailed, Failed, Issued, Limited, Stopped
from fastroute.certs.loop import CertsLoop
from fastroute.certs.views import STATES

#: How attempts to get a certificate end.
_RESULTS = (Issued.name, Failed.name, CaFailed.name, Limited.name, Stopped.name)


class CertificatesCollector(Collector):
    """The metrics of ``loop`` and of what it asks."""

    def __init__(self, loop: CertsLoop) -> None:
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """See :class:`Collector`."""
        views = self._loop.views()
        not_after = prometheus.GaugeMetricFamily(
            "fastroute_certificate_not_after_seconds",
            "When the certificate that is served expires, in seconds since 1970",
            labels=["host"],
        )
        for view in views:
            if view.expires is not None:
                not_after.add_metric([view.host], view.expires)
        yield not_after
        counts = Counter(view.state for view in views)
        states = prometheus.GaugeMetricFamily("fastroute_certificates", "Hosts by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], counts[state])
        yield states
        attempts = prometheus.CounterMetricFamily(
            "fastroute_certificate_attempts",
            "Attempts to get a certificate, by how they ended",
            labels=["result"],
        )
        for result in _RESULTS:
            attempts.add_metric([result], self._loop.ended[result])
        yield attempts
        yield prometheus.GaugeMetricFamily(
            "fastroute_ca_held_until_seconds",
            "Until when the CA is asked for nothing, in seconds since 1970; 0: it may be asked",
            value=self._loop.ca.held_until,
        )
        sources = prometheus.GaugeMetricFamily(
            "fastroute_status_source_up", "1 while the router or controller answers", labels=["url"]
        )
        for source in self._loop.sources:
            sources.add_metric([source.url], not source.problem)
        yield sources
        build = prometheus.GaugeMetricFamily("fastroute_build_info", "The version that runs", labels=["version"])
        build.add_metric([fastroute.__version__], 1)
        yield build
