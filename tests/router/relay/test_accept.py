"""A client gets of our own answers' forms what its Accept header names, and nothing that it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.relay.accept import MAX_ACCEPT, MAX_TYPES, preferred

HTML, JSON, TEXT = OFFERS = ("text/html", "application/json", "text/plain")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", ""),
        ("*/*", ""),
        ("text/*, application/*", ""),
        ("text/html", HTML),
        ("TEXT/HTML ; Q=0.1", HTML),
        ("text/html;level=1;q=0.4, application/json;q=0.5", JSON),
        # Chrome, Firefox's images, axios, jQuery.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", HTML),
        ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", ""),
        ("application/json, text/plain, */*", JSON),
        ("application/json, text/javascript, */*; q=0.01", JSON),
        ("text/plain, text/html", TEXT),
        ("text/plain;q=0.5, text/html;q=0.501", HTML),
        ("text/html, application/json", HTML),
        ("application/json, text/html", JSON),
        ("text/html;q=0", ""),
        ("text/html;q=0.000, application/json;q=0.001", JSON),
        ("text/html;q=0, */*", ""),
        # What is no weight accepts nothing.
        ("text/html;q=2", ""),
        ("text/html;q=", ""),
        ("text/html;q=nan, application/json", JSON),
        ("text/html;q=1e9", ""),
        (", ,text/html,", HTML),
        ("text/htmlx, xtext/html, text/html+x", ""),
    ],
)
def test_the_highest_weight_wins_and_the_first_of_equal_ones(accept: str, wanted: str) -> None:
    assert preferred(accept.encode(), OFFERS) == wanted


def test_what_is_cut_off_counts_for_nothing() -> None:
    assert preferred(b"a/b," * (MAX_TYPES - 1) + b"text/html", OFFERS) == HTML
    assert preferred(b"a/b," * MAX_TYPES + b"text/html", OFFERS) == ""
    fill = b"a/" + b"b" * (MAX_ACCEPT - 12) + b","
    assert len(fill + b"text/html") == MAX_ACCEPT
    assert preferred(fill + b"text/html", OFFERS) == HTML
    assert preferred(fill + b"text/html;q=0", OFFERS) == ""


@given(st.binary(max_size=60) | st.text("texhmlapicnjso/;q=01., *").map(str.encode))
def test_any_bytes_have_an_answer(accept: bytes) -> None:
    assert preferred(accept, OFFERS) in ("", *OFFERS)
