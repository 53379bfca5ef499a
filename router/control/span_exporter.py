"""Sends spans to an OpenTelemetry collector (``--otlp``): OTLP over HTTP, as JSON.  An edge, in control's loop.

A collector that is away is asked again later and later; meanwhile nothing else waits for it, and the queue is bounded.
"""

from __future__ import annotations

import asyncio
import json
import secrets

import fastroute
from fastroute.router.control.spans import SpanQueue, SpanRow, export_request
from fastroute.router.runtime.backoff import Backoff
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.logs import get_logger, printable

#: Seconds between looks at the queue.
EXPORT_INTERVAL = 1.0
#: Seconds that a collector has for its answer.
ANSWER_TIMEOUT = 5.0
#: Seconds between attempts while it is away.
FIRST_RETRY, LAST_RETRY = 1.0, 30.0
#: Where collectors take spans, if the URL says nothing else.
DEFAULT_PATH = "/v1/traces"

log = get_logger("fastroute.router")


class SpanExporter:
    """Exports what is in ``queue`` to the collector at ``url``, as the router ``instance``."""

    def __init__(self, url: str, queue: SpanQueue, instance: str) -> None:
        parsed = httpx.URL(url)
        self._url = parsed if parsed.path not in ("", "/") else parsed.copy_with(path=DEFAULT_PATH)
        self._queue, self._instance = queue, instance
        self._backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        self._trouble = ""

    async def run(self) -> None:
        """Export until it is cancelled."""
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT, trust_env=False) as client:
            while True:
                pause = await self._export(client)
                await asyncio.sleep(pause)

    async def _export(self, client: httpx.AsyncClient) -> float:
        """Send all that is queued.  Returns the seconds to wait before the next look."""
        while rows := self._queue.batch():
            problem, for_good = await self._send(client, rows)
            if problem:
                self._note(problem)
            if problem and not for_good:
                return self._backoff.next()
            self._queue.taken(rows, refused=bool(problem))
            self._backoff.reset()
            if not problem and self._trouble:
                self._trouble = ""
                log.info("otlp: spans are exported again to %s; %d were dropped so far", self._url, self._queue.dropped)
        return EXPORT_INTERVAL

    async def _send(self, client: httpx.AsyncClient, rows: list[SpanRow]) -> tuple[str, bool]:
        """Why the collector did not take ``rows``, and whether it never will; empty: it took them."""
        body = json.dumps(export_request(rows, fastroute.__version__, self._instance, secrets.token_hex))
        try:
            # Of the answer only the status is read: whoever answers there fills no memory.
            async with client.stream("POST", self._url, content=body.encode(),
                                     headers={"Content-Type": "application/json"}) as answer:  # fmt: skip
                if answer.is_success:
                    return "", False
                may_retry = answer.status_code in (408, 429) or answer.status_code >= 500
                return f"it answers {answer.status_code}", not may_retry
        except httpx.HTTPError as error:
            return printable(str(error)) or type(error).__name__, False

    def _note(self, problem: str) -> None:
        if problem != self._trouble:
            self._trouble = problem
            log.warning("otlp: the collector at %s takes no spans: %s; requests go on, spans may be dropped",
                        self._url, problem)  # fmt: skip
