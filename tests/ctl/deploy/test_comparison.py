"""When the new version's answers are a reason to go back: more errors than the old one's, enough answers, no chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.ctl.deploy.comparison import MIN_ANSWERS, Comparison
from fastroute.ctl.deploy.observed import Answers

GOOD = Answers(1000, 0)


@pytest.mark.parametrize(
    ("new", "old", "worse", "surely"),
    [
        # One answer fewer decides nothing, whatever it was.
        (Answers(MIN_ANSWERS - 1, MIN_ANSWERS - 1), GOOD, False, False),
        (Answers(MIN_ANSWERS, MIN_ANSWERS), GOOD, True, True),
        # More than so many percentage points above the old ones' share.
        (Answers(1000, 10), GOOD, False, False),
        (Answers(1000, 11), GOOD, True, False),
        (Answers(1000, 310), Answers(1000, 300), False, False),
        (Answers(1000, 320), Answers(1000, 300), True, False),
        (Answers(1000, 700), Answers(1000, 300), True, True),
        # One of twenty may be chance: it is judged at the end of the time, not at once.
        (Answers(20, 1), GOOD, True, False),
        (Answers(20, 0), Answers(1000, 900), False, False),
        # Nobody asked the old ones.
        (Answers(100, 50), Answers(), True, True),
    ],
)
def test_whether_it_is_worse(new: Answers, old: Answers, worse: bool, surely: bool) -> None:
    comparison = Comparison(old, new)
    assert (comparison.worse(1.0), comparison.surely_worse(1.0)) == (worse, surely)


answers = st.integers(0, 5000).flatmap(lambda total: st.builds(Answers, st.just(total), st.integers(0, total)))


@given(answers, answers, st.floats(0, 100))
def test_what_is_sure_is_so_at_the_end_too_and_no_better_version_goes_back(
    old: Answers, new: Answers, most: float
) -> None:
    comparison = Comparison(old, new)
    assert not comparison.surely_worse(most) or comparison.worse(most)
    if new.share <= old.share or new.total < MIN_ANSWERS:
        assert not comparison.worse(most)
    assert (f"{new.total} answers decide nothing" in str(comparison)) == (new.total < MIN_ANSWERS)
