"""Spans of sampled requests as OpenTelemetry's collectors take them (OTLP, JSON), and where they wait for it.  Pure.

A queue is bounded: while a collector is away or slow the oldest spans go, and are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from fastroute.router.protocol.static_pools import MAPPED

#: Spans that wait for the collector, some 1 KB each.
MAX_QUEUED = 4096
#: Spans in one request to the collector.
MAX_BATCH = 256

#: OTLP's numbers: a span of a server, and a status that is an error.
_SERVER, _ERROR = 2, 2

#: One request as a relay reports it (relay/span_sampler.py).
SpanRow = Sequence[Any]


class SpanQueue:
    """The spans that relays reported and no collector has yet."""

    def __init__(self) -> None:
        #: How many were exported, and how many were not: no room in a relay or here, or the collector refused them.
        self.exported = self.dropped = self.refused = 0
        self._rows: deque[SpanRow] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Iterable[SpanRow], dropped: int = 0) -> None:
        """A relay reported ``rows``, and that it had no room for ``dropped`` more."""
        self._rows.extend(rows)
        self.dropped += dropped
        while len(self._rows) > MAX_QUEUED:
            self._rows.popleft()
            self.dropped += 1

    def batch(self) -> list[SpanRow]:
        """The oldest spans, as many as one request takes; they stay."""
        return [*islice(self._rows, MAX_BATCH)]

    def taken(self, rows: Sequence[SpanRow], *, refused: bool = False) -> None:
        """The collector took the batch ``rows``, or refused it for good."""
        removed = 0
        for row in rows:
            # Some may have made room meanwhile, and are counted as dropped.
            if self._rows and self._rows[0] is row:
                self._rows.popleft()
                removed += 1
        if refused:
            self.refused += removed
        else:
            self.exported += removed


def export_request(
    rows: Iterable[SpanRow], version: str, instance: str, new_id: Callable[[int], str]
) -> dict[str, Any]:
    """OTLP's ExportTraceServiceRequest; ``new_id(bytes)`` makes an id in hexadecimal."""
    resource = _attributes({
        "service.name": "fastroute-router", "service.version": version, "service.instance.id": instance,
    })  # fmt: skip
    scope = {"name": "fastroute", "version": version}
    spans = [_span(row, new_id) for row in rows]
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(row: SpanRow, new_id: Callable[[int], str]) -> dict[str, Any]:
    (trace, parent, method, path, key, node, status, fault, client, tries, sent, received,
     ended, total, connect, answer, waited) = row  # fmt: skip
    attributes = {
        "http.request.method": method, "url.path": path, "server.address": key.removeprefix(MAPPED),
        "http.response.status_code": status or None, "client.address": client, "error.type": fault,
        "fastroute.node": node, "fastroute.tries": tries, "fastroute.bytes_sent": sent,
        "fastroute.bytes_received": received, "fastroute.connect_ms": _milliseconds(connect),
        "fastroute.answer_ms": _milliseconds(answer), "fastroute.waited_ms": _milliseconds(waited),
    }  # fmt: skip
    span: dict[str, Any] = {
        "traceId": trace or new_id(16),
        "spanId": new_id(8),
        "name": method or "request",
        "kind": _SERVER,
        "startTimeUnixNano": _nanoseconds(ended - total),
        "endTimeUnixNano": _nanoseconds(ended),
        "attributes": _attributes({name: value for name, value in attributes.items() if value not in (None, "")}),
        "status": {"code": _ERROR, "message": fault} if fault or status >= 500 else {},
    }
    return {**span, "parentSpanId": parent} if parent else span


def _nanoseconds(seconds: float) -> str:
    """As text, as JSON's numbers are not that exact; whole microseconds, as a float since 1970 is not, either."""
    return f"{round(seconds * 1_000_000)}000"


def _milliseconds(seconds: float) -> float | None:
    return round(seconds * 1000, 3) if seconds >= 0 else None


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}
