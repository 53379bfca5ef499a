"""What somebody sent is shown in messages as text in quotes, without a sign of Python, and never at length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.relay.quoting import MAX_QUOTED, quoted


def test_text_stands_in_quotes_and_what_is_none_is_escaped() -> None:
    assert quoted(b"foo bar") == "'foo bar'"
    assert quoted(bytearray(b"a\0\xe9\n")) == r"'a\x00\xe9\n'"
    assert quoted(b"foo bar", 3) == "'foo'"


@given(st.binary(max_size=300))
def test_it_is_one_short_line_of_ascii(data: bytes) -> None:
    text = quoted(data)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 4 * MAX_QUOTED + 2
    assert text[0] == text[-1]
    assert text[0] in "'\""
