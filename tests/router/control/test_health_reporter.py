"""Drops and lags become events: once, and not one for each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fastroute.router.control.health_reporter import DROPS_LOG_INTERVAL, HealthReporter
from fastroute.router.runtime.event_log import EventLog


def test_drops_are_said_together_and_each_lag_once() -> None:
    log, server = EventLog(), SimpleNamespace(dropped=5)
    relay = SimpleNamespace(index=1, resets=0)
    reporter = HealthReporter(log, cast(Any, server), cast(Any, SimpleNamespace(channels=[relay])))
    reporter.check(0.0)
    assert not log.recent()
    server.dropped, relay.resets = 8, 1
    for now in (1.0, 1.1):
        reporter.check(now)
    server.dropped = 20
    reporter.check(2.0)
    assert [(event.kind, event.fields.get("count")) for event in log.recent()] == [
        ("subscriptions-dropped", 3),
        ("relay-lagged", None),
    ]
    reporter.check(1.0 + DROPS_LOG_INTERVAL)
    assert [event.fields.get("count") for event in log.recent()][2:] == [12]
