"""The events that are remembered: bounded, in order, and a stranger's flood displaces no other event."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastroute.router.admin_http.event_stream import event_stream
from fastroute.router.runtime.event_log import MAX_EVENTS, MAX_FLOOD, MAX_LAG, Event, EventLog


def test_a_flood_of_refusals_leaves_all_other_events_where_they_are() -> None:
    log = EventLog(["subscription-refused"])
    log.add("node-new", key="foo.com")
    for at in range(MAX_EVENTS * 3):
        log.add("subscription-refused", text=str(at))
    log.add("node-gone", key="foo.com")
    events = log.recent()
    assert [event.kind for event in events if event.kind != "subscription-refused"] == ["node-new", "node-gone"]
    assert len(events) == MAX_FLOOD + 2
    assert [event.id for event in events] == sorted(event.id for event in events)
    after = EventLog(["subscription-refused"])
    after.restore(log.dump())
    assert after.recent() == events
    after.add("node-new")
    assert after.recent()[-1].id == events[-1].id + 1


def test_the_oldest_go_first() -> None:
    log = EventLog()
    for _ in range(MAX_EVENTS + 5):
        log.add("node-new")
    assert [event.id for event in log.recent()] == list(range(6, MAX_EVENTS + 6))


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    log, woken = EventLog(), threading.Event()
    follower = log.follow(woken.set)
    for _ in range(MAX_LAG + 3):
        log.add("node-new")
    assert woken.is_set()
    events, lost = follower.take()
    assert (events[0].id, len(events), lost) == (4, MAX_LAG, 3)
    log.add("node-new")
    assert [len(part) if isinstance(part, list) else part for part in follower.take()] == [1, 0]
    log.leave(follower)
    log.add("node-new")
    assert follower.take() == ([], 0)


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def to_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, **event.fields}


def stream(log: EventLog, after: str = "", *, follow: bool) -> AsyncIterator[str]:
    headers = {"last-event-id": after} if after else {}
    request = SimpleNamespace(headers=headers, query_params={} if follow else {"follow": "0"})
    return cast(AsyncIterator[str], event_stream(cast(Any, request), log, to_json).body_iterator)


def data(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_a_stream_begins_after_the_last_event_that_its_reader_had(log: EventLog) -> None:
    for text in "abc":
        log.add("node-new", text=text)

    async def texts(after: str = "") -> list[str]:
        pieces = [piece async for piece in stream(log, after, follow=False)]
        return [event["text"] for event in data(iter("".join(pieces).splitlines()))]

    assert asyncio.run(texts()) == ["a", "b", "c"]
    assert asyncio.run(texts(after="2")) == ["c"]
    assert asyncio.run(texts(after="nonsense")) == ["a", "b", "c"]


def test_a_stream_says_where_events_are_missing_and_goes_on(log: EventLog) -> None:
    async def run() -> None:
        pieces = stream(log, follow=True)
        log.add("node-new", text="first")
        assert "first" in await anext(pieces)
        for _ in range(MAX_LAG + 7):
            log.add("node-new", text="flood")
        piece = await anext(pieces)
        lost, *events = data(iter(piece.splitlines()))
        assert (lost["kind"], lost["count"], len(events)) == ("events-lost", 7, MAX_LAG)
        assert piece.startswith("event: events-lost\ndata: "), "without an id: it is an event of this stream alone"
        log.add("node-new", text="last")
        assert "last" in await anext(pieces)

    asyncio.run(run())
