"""Which requests become spans: as their traceparent says, else by chance; never more than there is room for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.relay.access_line import AccessRecord
from fastroute.router.relay.span_sampler import MAX_SPANS, SpanSampler

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def record(uri: bytes = b"/a?secret=1", status: bytes = b"200", key: bytes = b"foo.com") -> AccessRecord:
    log_vars = (b"10.0.0.9", b"", b"GET", uri, b"HTTP/1.1", b"", b"", b"", b"")
    return AccessRecord(log_vars, key, "10.0.0.1:80", status, "", 500, 300, 1, 0.001, 0.02, 100.0, 0.5, 99.6, -1.0)


def rows(traceparent: str, share: float) -> list[list[object]]:
    sampler = SpanSampler(share, random.Random(1))
    sampler.add(record(), traceparent.encode(), 1000.0)
    return sampler.take()[0]


@pytest.mark.parametrize(
    ("traceparent", "share", "trace"),
    [
        (f"00-{TRACE}-{PARENT}-01", 0, TRACE),
        (f"00-{TRACE}-{PARENT}-03", 0, TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", 0, TRACE),
        (f"00-{TRACE}-{PARENT}-00", 1, None),
        ("", 1, ""),
        ("", 0, None),
        (f"00-{'0' * 32}-{PARENT}-00", 1, ""),
        (f"00-{TRACE}-{'0' * 16}-00", 1, ""),
        (f"ff-{TRACE}-{PARENT}-00", 1, ""),
        (f"00-{TRACE.upper()}-{PARENT}-00", 1, ""),
        (f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01", 0, None),
    ],
)
def test_a_traceparent_that_is_one_decides_and_else_chance_does(traceparent: str, share: float, trace: str) -> None:
    assert [row[0] for row in rows(traceparent, share)] == ([] if trace is None else [trace])


def test_a_row_has_what_a_span_needs_and_no_query() -> None:
    (row,) = rows(f"00-{TRACE}-{PARENT}-01", 0)
    assert row == [TRACE, PARENT, "GET", "/a", "foo.com", "10.0.0.1:80", 200, "", "10.0.0.9", 1, 500, 300, 1100.0, 0.5,
                   0.001, 0.02, -1.0]  # fmt: skip


@given(st.binary(max_size=120))
def test_any_header_is_a_traceparent_or_none(traceparent: bytes) -> None:
    SpanSampler(0.5, random.Random(1)).add(record(), traceparent, 0.0)


def test_what_finds_no_room_is_counted() -> None:
    sampler = SpanSampler(1, random.Random(1))
    for _ in range(MAX_SPANS + 3):
        sampler.add(record(b"/" * 9000, b"", b"k" * 9000), b"", 0.0)
    taken, dropped = sampler.take()
    assert (len(taken), dropped) == (MAX_SPANS, 3)
    assert sum(len(str(text)) for text in taken[0]) < 900
    assert sampler.take() == ([], 0)


def test_chance_takes_the_share() -> None:
    sampler = SpanSampler(0.25, random.Random(1))
    for _ in range(1000):
        sampler.add(record(), b"", 0.0)
    assert 200 < len(sampler.rows) < 300
