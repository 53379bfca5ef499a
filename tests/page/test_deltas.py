"""A browser that gets every piece ends up with all there is, in bounded pieces, the news first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastroute.page.deltas import MAX_ROWS, SentTable, SentValues

ROWS = st.fixed_dictionaries({"state": st.sampled_from("xy"), "n": st.integers(0, 3)})
TABLES = st.dictionaries(st.sampled_from("abcdef"), ROWS)


@given(st.lists(TABLES, max_size=20))
def test_pieces_make_the_table(tables: list[dict[str, dict[str, object]]]) -> None:
    sent, browser = SentTable(), dict[str, object]()
    for table in tables:
        piece = sent.next(table)
        for id in piece.gone:
            del browser[id]
        browser |= piece.rows
        assert browser == table
        assert not sent.incomplete
        assert not sent.next(table), "nothing is sent twice"


def test_a_large_table_comes_in_pieces_and_then_what_changed_its_state_first() -> None:
    rows = {str(number): {"state": "ready", "level": "ok", "n": 0} for number in range(3 * MAX_ROWS)}
    sent, got = SentTable(), dict[str, object]()
    while True:
        piece = sent.next(rows)
        assert len(piece.rows) <= MAX_ROWS
        got |= piece.rows
        if not sent.incomplete:
            break
    assert got == rows
    changed = {id: row | {"n": 1} for id, row in rows.items()}
    last = list(rows)[-1]
    changed[last] = changed[last] | {"state": "ejected"}
    assert last in sent.next(changed).rows
    seen = set[str]()
    for n in range(2, 5):
        seen |= set(sent.next({id: row | {"n": n} for id, row in changed.items()}).rows)
    assert len(seen) == len(rows), "numbers that change all the time all have their turn"


def test_values_are_sent_when_they_change() -> None:
    sent = SentValues()
    assert sent.next({"a": 1, "b": None}) == {"a": 1, "b": None}
    assert sent.next({"a": 1, "b": 2}) == {"b": 2}
    assert sent.next({"a": 1, "b": 2}) == {}
