"""Drops and lags become events: once, and not one for each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fastroute.router.control.attention import INTERVAL, Attention
from fastroute.router.control.journal import Journal


def test_drops_are_said_together_and_each_lag_once() -> None:
    journal, server = Journal(), SimpleNamespace(dropped=5)
    relay = SimpleNamespace(index=1, resets=0)
    attention = Attention(journal, cast(Any, server), cast(Any, SimpleNamespace(channels=[relay])))
    attention.look(0.0)
    assert not list(journal)
    server.dropped, relay.resets = 8, 1
    for now in (1.0, 1.1):
        attention.look(now)
    server.dropped = 20
    attention.look(2.0)
    assert [(one.kind, one.fields.get("count")) for one in journal] == [
        ("subscriptions-dropped", 3),
        ("relay-lagged", None),
    ]
    attention.look(1.0 + INTERVAL)
    assert [one.fields.get("count") for one in journal][2:] == [12]
