"""Spans that wait for a collector: bounded, each counted once; and their form on the wire."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.control.spans import MAX_BATCH, MAX_QUEUED, SpanQueue, export_request

ROW = ["", "", "GET", "/a", "foo.com", "10.0.0.1:80", 200, "", "10.0.0.9", 1, 500, 300, 1_800_000_000.25, 0.25, 0.001,
       0.02, -1.0]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["report", "send", "take", "refuse"]), st.integers(0, 3000)), max_size=40))
def test_every_span_is_exported_refused_or_dropped_or_waits(steps) -> None:
    queue, reported, sent = SpanQueue(), 0, []
    for what, number in steps:
        if what == "report":
            queue.add([[*ROW] for _ in range(number)], number % 3)
            reported += number + number % 3
        elif what == "send":
            sent = queue.batch()
            assert len(sent) <= MAX_BATCH
        else:
            queue.taken(sent, refused=what == "refuse")
            sent = []
        assert len(queue) <= MAX_QUEUED
        assert reported == queue.exported + queue.refused + queue.dropped + len(queue)


def exported(*row: object) -> dict[str, object]:
    ids = count(1)
    request = export_request([row], "1.2", "boot", lambda size: f"{next(ids):0{size * 2}x}")
    (resource,) = request["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "fastroute-router"}} in resource["resource"]["attributes"]
    (scope,) = resource["scopeSpans"]
    (span,) = scope["spans"]
    found: dict[str, object] = span
    return found


def test_a_span_has_times_in_nanoseconds_and_numbers_as_otlp_writes_them() -> None:
    span = exported(*ROW)
    assert (span["traceId"], span["spanId"], span.get("parentSpanId")) == ("0" * 31 + "1", "0" * 15 + "2", None)
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1800000000000000000", "1800000000250000000")
    assert (span["name"], span["kind"], span["status"]) == ("GET", 2, {})
    attributes = {each["key"]: each["value"] for each in span["attributes"]}  # type: ignore[attr-defined]
    assert attributes["http.response.status_code"] == {"intValue": "200"}
    assert attributes["fastroute.answer_ms"] == {"doubleValue": 20.0}
    assert attributes["server.address"] == {"stringValue": "foo.com"}
    assert not {"fastroute.waited_ms", "error.type"} & attributes.keys()


def test_a_span_of_a_trace_has_its_parent_and_an_error_is_one() -> None:
    row = [*ROW]
    row[:2], row[6], row[7] = ["a" * 32, "b" * 16], 504, "timeout"
    span = exported(*row)
    assert (span["traceId"], span["parentSpanId"]) == ("a" * 32, "b" * 16)
    assert span["status"] == {"code": 2, "message": "timeout"}
