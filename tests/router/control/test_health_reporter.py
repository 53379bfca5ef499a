"""Drops and lags become events: once, and not one for each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fastroute.router.control.counters import Counters
from fastroute.router.control.health_reporter import DROPS_LOG_INTERVAL, MAX_FULL_QUEUES, HealthReporter
from fastroute.router.protocol.latency import WAITED
from fastroute.router.runtime.event_log import EventLog


def test_drops_are_said_together_and_each_lag_once() -> None:
    log, server = EventLog(), SimpleNamespace(dropped=5)
    relay = SimpleNamespace(index=1, resets=0)
    reporter = HealthReporter(log, cast(Any, server), cast(Any, SimpleNamespace(channels=[relay])), Counters())
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


def test_full_queues_are_said_together_and_a_flood_of_keys_is_cut() -> None:
    log, counters = EventLog(), Counters()
    server = SimpleNamespace(dropped=0)
    reporter = HealthReporter(log, cast(Any, server), cast(Any, SimpleNamespace(channels=[])), counters)

    def full(key: str, number: int) -> None:
        counters.update(0, {"waits": [[key, 1000, [0] * (len(WAITED) + 2), number]]})

    full("foo.com", 3)
    reporter.check(0.0)
    full("foo.com", 3)
    for number in range(30):
        full(f"k{number}.com", number + 1)
    reporter.check(1.0)
    assert [(event.kind, event.fields["key"], event.fields["count"]) for event in log.recent()] == [
        ("queue-full", "foo.com", 3)
    ]
    reporter.check(DROPS_LOG_INTERVAL)
    assert [event.fields["key"] for event in log.recent()][1:] == [f"k{29 - n}.com" for n in range(MAX_FULL_QUEUES)]
    reporter.check(3 * DROPS_LOG_INTERVAL)
    assert len(log.recent()) == 1 + MAX_FULL_QUEUES
