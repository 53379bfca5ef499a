"""Events of several sources: each once, in order, the keys of containers that are gone still known, memory bounded."""

from __future__ import annotations

import pytest

from fastroute.page import event_history
from fastroute.page.event_history import EventHistory


def event(time: object, kind: str = "node-new", **fields: object) -> dict[str, object]:
    return {"time": time, "kind": kind, **fields}


def test_what_a_source_tells_again_after_a_break_is_there_once() -> None:
    history = EventHistory()
    told = [("1", event(10.0)), ("2", event(10.0)), ("3", event(11.0))]
    assert [history.add("router", id, data) for id, data in told] == [True] * 3
    assert [history.add("router", id, data) for id, data in told] == [False] * 3
    assert history.add("router-2", "1", event(10.0)), "another source"
    # A router that restarted counts from 1 again.
    assert history.add("router", "1", event(12.0))
    assert [one.number for one in history.since(0)] == [1, 2, 3, 4, 5]
    assert [one.time for one in history.since(4)] == [12.0]


def test_a_clock_that_is_set_back_hides_nothing() -> None:
    history = EventHistory()
    history.add("router", "1", event(100.0))
    assert history.add("router", "2", event(40.0))
    assert not history.add("router", "2", event(40.0))


def test_events_of_a_key_are_those_of_its_containers_too() -> None:
    history = EventHistory()
    history.remember_container("c1", "foo-1", ("foo.com",), ())
    history.add("controller", "1", event("2026-11-30T12:00:00.500Z", "state", container="foo-1", id="c1", text="ready"))
    history.add("controller", "2", event("2026-11-30T12:00:01.000Z", "state", container="bar-1", id="c2", text="ready"))
    history.add("router", "1", event(1.0, key="foo.com", node="10.0.0.1:80", id=7))
    assert [(one.container, one.node, one.id) for one in history.since(0, "foo.com")] == [
        ("foo-1", "", "c1"),
        ("", "10.0.0.1:80", ""),
    ]


def test_a_node_is_called_by_its_container_once_that_is_known() -> None:
    history = EventHistory()
    history.add("router", "1", event(100.0, key="foo.com", node="10.0.0.1:80"))
    history.add("router", "2", event(5.0, key="foo.com", node="10.0.0.1:80"))
    history.remember_container("c1", "foo-1", ("foo.com",), ("10.0.0.1:80",))
    history.name_nodes(since=90.0)
    assert [one.container for one in history.since(0)] == ["foo-1", ""], "what is long ago may have been another's"


def test_memory_has_an_end_and_refusals_displace_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    history = EventHistory()
    history.add("router", "0", event(0.5))
    for number in range(event_history.MAX_REFUSALS + 50):
        history.add("router", str(number), event(float(number + 1), "subscription-refused", text="x" * 5000))
    kept = history.since(0)
    assert len(kept) == event_history.MAX_REFUSALS + 1
    assert kept[0].kind == "node-new"
    assert len(kept[1].text) == event_history.MAX_TEXT


@pytest.mark.parametrize("data", [{}, {"time": 1.0}, {"kind": "x", "time": "yesterday"}, {"kind": "x", "time": None}])
def test_what_is_no_event_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no event|isoformat"):
        EventHistory().add("router", "1", data)
