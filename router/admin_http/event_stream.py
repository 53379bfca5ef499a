"""``/v1/events``: an event log as server-sent events, the same in router and controller."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from fastroute.router.runtime.event_log import Event, EventLog

#: Seconds between signs of life in a stream without events.
KEEP_ALIVE_INTERVAL = 15.0
#: Seconds from one piece of a stream to the next, at least: a burst of events is one write.
MIN_INTERVAL = 0.1

ToJson = Callable[[Event], dict[str, Any]]


def event_stream(request: Request, log: EventLog, to_json: ToJson) -> StreamingResponse:
    """The events after ``Last-Event-ID``, then (unless ``follow=0``) each new one; ``to_json`` is an event's data."""
    last_id = request.headers.get("last-event-id", "")
    after = int(last_id) if last_id.isdecimal() and len(last_id) < 19 else 0
    stream = _stream(log, to_json, after, follow=request.query_params.get("follow") != "0")
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(log: EventLog, to_json: ToJson, after: int, *, follow: bool) -> AsyncIterator[str]:
    if not follow:
        for event in log.recent():
            if event.id > after:
                yield _text(event, to_json)
        return
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(news.set)

    follower = log.follow(wake)
    try:
        for event in log.recent():
            if event.id > after:
                after = event.id
                yield _text(event, to_json)
        while True:
            try:
                await asyncio.wait_for(news.wait(), KEEP_ALIVE_INTERVAL)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            news.clear()
            events, lost = follower.take()
            text = _lost(lost) if lost else ""
            text += "".join(_text(event, to_json) for event in events if event.id > after)
            if text:
                yield text
                await asyncio.sleep(MIN_INTERVAL)
    finally:
        log.leave(follower)


def _text(event: Event, to_json: ToJson) -> str:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(to_json(event))}\n\n"


def _lost(count: int) -> str:
    """An event of this stream alone, so without an id."""
    text = f"{count} events are missing here: this reader is slower than the events come"
    data = {"time": time.time(), "kind": "events-lost", "text": text, "count": count}
    return f"event: events-lost\ndata: {json.dumps(data)}\n\n"
