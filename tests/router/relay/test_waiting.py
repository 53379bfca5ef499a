"""Queues of waiting requests: in order, bounded in time, nobody lost and nobody served twice, whatever happens."""

from __future__ import annotations

import sys
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastroute.router.protocol.latency import WAITED
from fastroute.router.relay.waiting import QueueSchedule, Waiter, WaitingQueue


def joined(queue: WaitingQueue, deadline: float = 100.0, choosy: bool = False, now: float = 0.0) -> Waiter:
    waiter = Waiter(None)
    queue.join(waiter, now, deadline, choosy)
    return waiter


def test_the_one_that_joined_first_is_next() -> None:
    queue = WaitingQueue()
    waiters = [joined(queue) for _ in range(5)]
    for waiter in waiters:
        assert queue.next_in_turn() == [waiter]
        queue.leave(waiter, 1.0)
    assert queue.next_in_turn() == []


def test_who_comes_back_has_its_place_and_its_deadline() -> None:
    queue = WaitingQueue()
    first, second = joined(queue, 10.0), joined(queue, 20.0)
    queue.leave(first, 3.0)
    assert queue.next_in_turn() == [second]
    queue.join(first, 4.0, 500.0)
    assert queue.next_in_turn() == [first]
    assert first.deadline == 10.0
    queue.leave(first, 9.0)
    assert first.waited == pytest.approx(8.0), "two times in the queue, not the second between them"


def test_a_choosy_one_is_asked_first_in_its_turn_and_holds_up_nobody() -> None:
    queue = WaitingQueue()
    choosy, other = joined(queue, choosy=True), joined(queue)
    assert queue.next_in_turn() == [choosy, other]
    queue.leave(choosy, 1.0)
    queue.join(choosy, 1.0, 100.0, choosy=True)
    assert queue.next_in_turn() == [choosy, other]
    queue.leave(other, 2.0)
    assert queue.next_in_turn() == [choosy]
    late = joined(queue)
    queue.leave(choosy, 3.0)
    assert queue.next_in_turn() == [late]


def test_nobodys_time_is_over_while_the_queue_is_held() -> None:
    queue = WaitingQueue()
    waiter = joined(queue, 10.0)
    queue.hold(30.0)
    assert queue.overdue(29.9) is None
    assert queue.next_deadline() == 30.0
    assert queue.overdue(30.0) is waiter
    queue.hold(5.0)
    assert queue.next_deadline() == 10.0


def test_how_long_they_waited_is_counted_whatever_the_end() -> None:
    queue = WaitingQueue()
    for seconds in (0.0, 0.3, 4000.0):
        queue.leave(joined(queue), seconds)
    row = queue.counts.report()
    assert len(row) == len(WAITED) + 2
    assert (row[0], row[WAITED.index(0.5)], row[-2], row[-1]) == (1, 1, 1, 4000.3)


def test_ten_thousand_that_leave_in_any_order_leave_nothing_behind_and_none_is_looked_for() -> None:
    queue = WaitingQueue()
    waiters = [joined(queue, 100.0 + number % 7) for number in range(10_000)]
    steps = 0

    def called(*_: object) -> None:
        nonlocal steps
        steps += 1

    profile = sys.getprofile()
    sys.setprofile(called)
    try:
        assert queue.overdue(99.0) is None
        assert queue.next_deadline() == 100.0
    finally:
        sys.setprofile(profile)
    assert steps < 20, "a tick looks at the first of them only"
    for waiter in waiters[::2] + waiters[1::2]:
        queue.leave(waiter, 1.0)
    assert len(queue) == 0
    assert sum(len(heap) for heap in (queue._order, queue._choosy, queue._deadlines)) < 200


class QueueLife(RuleBasedStateMachine):
    """The queue beside a list that is searched: order, deadlines, numbers."""

    WAITS = st.sampled_from([0.5, 3.0, 15.0, 600.0])

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = WaitingQueue()
        #: In the order in which they joined first; with the deadline that each was given then.
        self.known: list[tuple[Waiter, float]] = []
        self.waiting: list[Waiter] = []
        self.held = 0.0

    @rule(wait=WAITS, choosy=st.booleans())
    def joins(self, wait: float, choosy: bool) -> None:
        waiter = Waiter(None)
        self.queue.join(waiter, self.now, self.now + wait, choosy)
        self.known.append((waiter, self.now + wait))
        self.waiting.append(waiter)

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 50))
    def leaves(self, index: int) -> None:
        waiter = self.waiting.pop(index % len(self.waiting))
        self.queue.leave(waiter, self.now)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 1))
    def is_served(self, which: int) -> None:
        turn = self.queue.next_in_turn()
        waiter = turn[which % len(turn)]
        self.queue.leave(waiter, self.now)
        self.waiting.remove(waiter)

    @precondition(lambda self: len(self.known) > len(self.waiting))
    @rule(index=st.integers(0, 50), wait=WAITS, choosy=st.booleans())
    def joins_again(self, index: int, wait: float, choosy: bool) -> None:
        gone = [waiter for waiter, _ in self.known if waiter not in self.waiting]
        waiter = gone[index % len(gone)]
        self.queue.join(waiter, self.now, self.now + wait, choosy)
        self.waiting.append(waiter)

    @rule(seconds=st.floats(0.01, 10))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        overdue = {waiter for waiter, deadline in self.known if waiter in self.waiting and deadline <= self.now}
        if self.now < self.held:
            overdue.clear()
        while (waiter := self.queue.overdue(self.now)) is not None:
            overdue.remove(waiter)
            self.queue.leave(waiter, self.now)
            self.waiting.remove(waiter)
        assert not overdue, "they wait for ever"

    @rule(seconds=st.floats(0, 20))
    def hold(self, seconds: float) -> None:
        self.held = self.now + seconds
        self.queue.hold(self.held)

    @invariant()
    def it_is_as_the_list_says(self) -> None:
        assert len(self.queue) == len(self.waiting)
        order = [waiter for waiter, _ in self.known if waiter in self.waiting]
        first = next((waiter for waiter in order if not waiter.choosy), None)
        choosy = next((waiter for waiter in order if waiter.choosy), None)
        turn = self.queue.next_in_turn()
        assert turn[:1] == order[:1]
        assert turn == [waiter for waiter in order if waiter in (first, choosy)][: 1 if turn[:1] == [first] else 2]
        deadlines = [deadline for waiter, deadline in self.known if waiter in self.waiting]
        assert self.queue.next_deadline() == (max(min(deadlines), self.held) if deadlines else inf)


QueueLife.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestQueueLife = QueueLife.TestCase


def test_each_pool_is_looked_at_at_the_earliest_time_that_was_set() -> None:
    schedule: QueueSchedule[str] = QueueSchedule()
    schedule.wake_at("a", 5.0)
    schedule.wake_at("b", 3.0)
    schedule.wake_at("a", 1.0)
    schedule.wake_at("b", 9.0)
    schedule.tick(0.9)
    assert not schedule.woken
    schedule.tick(2.0)
    assert list(schedule.woken) == ["a"]
    schedule.tick(5.0)
    assert list(schedule.woken) == ["a", "b"]
    schedule.wake_at("b", 9.0)
    schedule.woken.clear()
    schedule.forget("b")
    schedule.tick(20.0)
    assert not schedule.woken


def test_a_pool_whose_time_changes_all_the_time_costs_no_memory() -> None:
    schedule: QueueSchedule[str] = QueueSchedule()
    for step in range(1000):
        schedule.wake_at("a", 1100.0 - step)
    assert len(schedule._due) < 100
    schedule.tick(1100.0)
    assert list(schedule.woken) == ["a"]
