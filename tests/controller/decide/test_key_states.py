"""The keys that operators hold at a controller: until when, and that a restart changes nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.controller.decide.key_states import HeldKeys
from fastroute.controller.files.state_file import StateFile
from fastroute.router.protocol.key_state import MAINTENANCE, PAUSED, AnnouncedState

PAUSE = AnnouncedState(PAUSED, seconds=30, stamp=7)
CLOSED = AnnouncedState(MAINTENANCE, "zurück um 9", ("10.0.0.0/8", "::1/128"), 0, 8)


def test_a_time_is_over_once_and_the_next_pause_begins_anew() -> None:
    keys = HeldKeys()
    keys.hold("foo.com", PAUSE, 100)
    keys.hold("bar.com", CLOSED, 100)
    assert (keys.due, keys.over(129)) == (130, [])
    assert keys.over(130) == ["foo.com"]
    assert keys.release("foo.com")
    assert not keys.release("foo.com")
    assert (keys.due, [held.key for held in keys]) == (None, ["bar.com"])
    keys.hold("foo.com", PAUSE, 200)
    assert keys.due == 230


states = st.builds(
    AnnouncedState, st.sampled_from([PAUSED, MAINTENANCE]), st.text(max_size=20), st.just(("10.0.0.0/8",)),
    st.sampled_from([0, 1, 30, 600.5]), st.integers(0, 10**15),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["a.com", "*.b.com", "c.com/x"]), states), st.sampled_from([0.0, 29.0, 700.0]))
def test_what_is_kept_is_held_again_with_the_same_end_and_the_same_word_to_routers(
    held: dict[str, AnnouncedState], away: float
) -> None:
    before, after = HeldKeys(), HeldKeys()
    for key, state in held.items():
        before.hold(key, state, 1000)
    kept = json.loads(json.dumps(before.as_json(1000, 5_000_000)))
    assert after.restore(kept, 10 + away, 5_000_000 + away) == []
    expected = {key: state for key, state in held.items() if not state.seconds or state.seconds > away}
    assert {each.key: each.state for each in after} == expected
    assert after.routes == {at: route for at, route in before.routes.items() if at[0] in expected}
    for each in after:
        assert each.until == (pytest.approx(10 + each.state.seconds) if each.state.seconds else None)


@pytest.mark.parametrize("kept", [7, [], {}, {"version": 2, "keys": []}, {"version": 1, "keys": 3}])
def test_a_file_of_another_version_or_of_somebody_else_is_refused_in_words(kept: object) -> None:
    keys = HeldKeys()
    assert keys.restore(kept, 0, 0) == ["version 1 with a list of keys expected"]
    assert not list(keys)


def test_one_bad_row_takes_no_other_with_it() -> None:
    keys = HeldKeys()
    good = HeldKeys()
    good.hold("foo.com", CLOSED, 0)
    kept = good.as_json(0, 0)
    assert isinstance(kept["keys"], list)
    kept["keys"] = [{"key": "bar.com"}, 5, *kept["keys"]]
    assert len(keys.restore(kept, 0, 0)) == 2
    assert [held.key for held in keys] == ["foo.com"]


def test_the_file_says_what_was_lost_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "keys.json").write_text("{")
    assert StateFile.of_keys(str(tmp_path)).load() is None
    assert "pauses and maintenance that it kept are lost" in caplog.text
