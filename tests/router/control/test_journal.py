"""The events that are remembered: bounded, in order, and a stranger's flood drops nobody else's."""

from __future__ import annotations

from fastroute.router.control.journal import MAX_EVENTS, MAX_FROM_STRANGERS, Journal


def test_a_flood_of_refusals_leaves_all_other_events_where_they_are() -> None:
    journal = Journal()
    journal.add("node-new", key="foo.com")
    for at in range(MAX_EVENTS * 3):
        journal.add("subscription-refused", text=str(at))
    journal.add("node-gone", key="foo.com")
    events = list(journal)
    assert [event.kind for event in events if event.kind != "subscription-refused"] == ["node-new", "node-gone"]
    assert len(events) == MAX_FROM_STRANGERS + 2
    assert [event.id for event in events] == sorted(event.id for event in events)
    after = Journal()
    after.restore(journal.dump())
    assert list(after) == events
    after.add("node-new")
    assert list(after)[-1].id == events[-1].id + 1


def test_the_oldest_go_first() -> None:
    journal = Journal()
    for _ in range(MAX_EVENTS + 5):
        journal.add("node-new")
    assert [event.id for event in journal] == list(range(6, MAX_EVENTS + 6))
