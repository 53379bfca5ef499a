"""Ten minutes of numbers: what is remembered is what was, gaps are gaps, and memory has an end."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fastroute.page.history import SLOTS, NumberHistory, rounded

STEPS = st.lists(
    st.tuples(st.integers(1, 30), st.none() | st.integers(0, 1000), st.booleans()), min_size=1, max_size=60
)


@given(STEPS)
def test_the_last_ten_minutes_are_those_that_were(steps: list[tuple[int, int | None, bool]]) -> None:
    history, slot, total, key = NumberHistory(), 1000, dict[int, int | None](), dict[int, int | None]()
    for step, value, there in steps:
        slot += step
        total[slot] = value
        keys = {}
        if there:
            key[slot] = value
            keys["foo.com"] = {"rate": value}
        history.write(slot, {"rate": value}, keys)
    wanted = range(slot - SLOTS + 1, slot + 1)
    assert history.total()["rate"] == [total.get(at) for at in wanted]
    known = history.of_key("foo.com", ("rate",))
    if known is None:
        assert not any(at in key for at in wanted)
    else:
        assert known["rate"] == [key.get(at) for at in wanted]


def test_a_key_that_nobody_has_any_more_gives_its_room_to_others() -> None:
    history = NumberHistory(max_keys=1)
    history.write(1, {}, {"old": {"rate": 1}})
    history.write(2, {}, {"old": {"rate": 1}, "new": {"rate": 2}})
    assert history.of_key("new") is None, "there is room for one"
    history.write(2 + SLOTS, {}, {"new": {"rate": 2}})
    assert (history.of_key("old"), history.of_key("new", ("rate",))["rate"][-1]) == (None, 2)  # type: ignore[index]


def test_the_mean_leaves_gaps_out() -> None:
    history = NumberHistory()
    for slot, value in ((1, 4.0), (2, None), (3, 8.0)):
        history.write(slot, {}, {"foo.com": {"rate": value}})
    assert history.mean("foo.com", "rate", 3) == 6.0
    assert history.mean("foo.com", "p95", 3) is None
    assert history.mean("bar.com", "rate", 3) is None


@given(st.floats())
def test_rounded_is_near_and_always_json(value: float) -> None:
    got = rounded(value)
    if math.isfinite(value):
        assert got is not None
        assert math.isclose(got, value, rel_tol=0.006, abs_tol=1e-300)
    else:
        assert got is None
