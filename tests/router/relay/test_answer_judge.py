"""Which node is ejected for its answers: one whose answers are errors, while others do better; never too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.relay.answer_judge import MIN_ANSWERS, WINDOW, AnswerJudge, may_eject, worst_node

GOOD = (100, 0)


@pytest.mark.parametrize(
    ("counts", "ejected", "worst"),
    [
        ([GOOD, GOOD, (100, 100)], 0, 2), ([(100, 51), GOOD, GOOD], 0, 0), ([(10, 10), (10, 0)], 0, 0),
        # Not more than half; too few answers, its own or the others'.
        ([(100, 50), GOOD, GOOD], 0, -1), ([(9, 9), GOOD, GOOD], 0, -1), ([(100, 100), (4, 0), (5, 0)], 0, -1),
        # The others have more than a third of its share.
        ([(100, 60), (100, 20), (100, 20)], 0, 0), ([(100, 60), (100, 21), (100, 21)], 0, -1),
        ([(100, 100)] * 3, 0, -1), ([(100, 90), (100, 80), (100, 85)], 0, -1),
        # Never the last, never more than a third, one of two.
        ([(100, 100)], 0, -1), ([(100, 100)], 1, -1), ([(100, 100), GOOD], 1, -1), ([(100, 100), *[GOOD] * 4], 1, 0),
        ([(100, 100), *[GOOD] * 3], 1, -1), ([(100, 100), *[GOOD] * 3], 2, -1),
        # The worst first.
        ([(100, 80), (100, 90), *[GOOD] * 10], 0, 1), ([], 0, -1), ([(0, 0), (0, 0)], 0, -1),
    ],
)  # fmt: skip
def test_who_is_ejected(counts: list[tuple[int, int]], ejected: int, worst: int) -> None:
    assert judged(counts, ejected) == worst


def judged(counts: list[tuple[int, int]], ejected: int) -> int:
    """The place of the node that is ejected."""
    return worst_node(counts) if may_eject(len(counts) + ejected, ejected) else -1


counted = st.lists(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=12)


@given(counted, st.integers(0, 6))
def test_the_rules_hold_whatever_the_numbers(counts: list[tuple[int, int]], ejected: int) -> None:
    worst = judged(counts, ejected)
    if worst < 0:
        return
    nodes = len(counts) + ejected
    assert ejected + 1 <= max(nodes // 3, nodes == 2)
    assert len(counts) > 1
    answers, errors = counts[worst]
    others = [count for place, count in enumerate(counts) if place != worst]
    their_answers, their_errors = map(sum, zip(*others, strict=True))
    assert answers >= MIN_ANSWERS
    assert errors / answers > 0.5
    assert their_errors / their_answers <= errors / answers / 3 + 1e-9


@given(counted, st.integers(0, 6), st.integers(0, 11))
def test_a_node_without_errors_is_never_ejected(counts: list[tuple[int, int]], ejected: int, place: int) -> None:
    counts = [(answers, 0 if at == place else errors) for at, (answers, errors) in enumerate(counts)]
    assert judged(counts, ejected) in (-1, *(at for at in range(len(counts)) if at != place))


@given(counted.filter(bool))
def test_where_all_are_alike_nobody_is_ejected(counts: list[tuple[int, int]]) -> None:
    assert worst_node([counts[0]] * len(counts)) == -1


@given(st.lists(st.tuples(st.sampled_from("abc"), *[st.integers(0, 20)] * 2, st.floats(0, 4)), max_size=40))
def test_the_window_holds_what_came_within_it(events: list[tuple[str, int, int, float]]) -> None:
    judge: AnswerJudge[str] = AnswerJudge()
    now, came = 0.0, list[tuple[float, str, int, int]]()
    for node, good, errors, pause in events:
        now += pause
        came.append((now, node, good + errors, errors))
        judge.add(node, good + errors, errors, now)
        judge.expire(now)
        for name in "abc":
            within = [piece for piece in came if piece[1] == name and piece[0] > now - WINDOW]
            assert judge.counts(name) == (sum(piece[2] for piece in within), sum(piece[3] for piece in within))
    judge.forget("a")
    assert judge.counts("a") == (0, 0)
    judge.expire(now + WINDOW + 1)
    assert [judge.counts(name) for name in "abc"] == [(0, 0)] * 3
    assert not judge._sums
    assert not judge._pieces
    assert not judge._runs


def test_a_run_of_errors_tells_of_a_node_that_was_well_for_long() -> None:
    judge: AnswerJudge[str] = AnswerJudge()
    for second in range(10):
        judge.add("a", 20, 0, second / 2)
        judge.add("b", 20, 0, second / 2)
    assert not judge.is_suspect("a")
    judge.add("a", 6, 6, 5.2)
    judge.add("b", 6, 0, 5.2)
    assert not judge.is_suspect("a")
    judge.add("a", 5, 5, 5.4)
    judge.add("b", 5, 0, 5.4)
    assert judge.is_suspect("a")
    assert worst_node([judge.counts("a"), judge.counts("b")]) == -1
    verdict = judge.worst_run(["a"], ["a", "b"])
    assert verdict is not None
    assert (verdict.node, verdict.own, verdict.others, verdict.since) == ("a", (11, 11), (11, 0), 5.2)
    assert judge.worst_run(["a"], ["a"]) is None
    judge.add("a", 2, 1, 5.6)
    assert not judge.is_suspect("a")
    assert judge.worst_run(["a"], ["a", "b"]) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_a_run_ends_with_the_first_good_answer(pieces: list[tuple[int, int]]) -> None:
    judge: AnswerJudge[str] = AnswerJudge()
    run = 0
    for number, (good, errors) in enumerate(pieces):
        judge.add("a", good + errors, errors, number / 10)
        run = 0 if good else run + errors
        assert judge.has_run("a") == (run >= MIN_ANSWERS)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(0, 9), st.floats(0, 0.4)),
                max_size=60))  # fmt: skip
def test_a_run_is_judged_by_what_came_since_it_began(events: list[tuple[str, int, int, float]]) -> None:
    judge: AnswerJudge[str] = AnswerJudge()
    now, came, runs = 0.0, list[tuple[float, str, int, int]](), dict[str, tuple[float, int]]()
    for node, good, errors, pause in events:
        now += pause
        if good + errors:
            judge.add(node, good + errors, errors, now)
            came.append((now, node, good + errors, errors))
            since, count = runs.get(node, (now, 0))
            runs[node] = (now + 1, 0) if good else (since, count + errors)
            if good:
                del runs[node]
    judge.expire(now)
    # "d" drains: what it has answered counts for nobody.
    serving = ["a", "b", "c"]
    allowed = {}
    for node in serving:
        since, count = runs.get(node, (0.0, 0))
        within = [piece for piece in came if piece[0] >= since and piece[0] > now - WINDOW and piece[1] in serving]
        own = [piece for piece in within if piece[1] == node]
        others = [piece for piece in within if piece[1] != node]
        answers, failed = sum(piece[2] for piece in others), sum(piece[3] for piece in others)
        mine = sum(piece[2] for piece in own)
        if count >= MIN_ANSWERS and mine >= MIN_ANSWERS and answers >= MIN_ANSWERS and 3 * failed <= answers:
            allowed[node] = (mine, mine), (answers, failed)
    verdict = judge.worst_run(serving, serving)
    assert (verdict is not None) == bool(allowed)
    if verdict is not None:
        assert (verdict.own, verdict.others) == allowed[verdict.node]


def test_a_key_all_of_whose_nodes_fail_is_walked_through_once() -> None:
    """However many suspects there are: one look at 300 of them would else take a relay half a second."""

    class Counted:
        """A node that counts how often somebody looks it up."""

        hashed = 0

        def __hash__(self) -> int:
            Counted.hashed += 1
            return id(self)

    nodes = [Counted() for _ in range(300)]
    judge: AnswerJudge[Counted] = AnswerJudge()
    for look in range(20):
        for node in nodes:
            judge.add(node, 1, 1, look / 5)
    serving, Counted.hashed = dict.fromkeys(nodes), 0
    assert judge.worst_run(nodes, serving) is None
    assert Counted.hashed < 10 * 20 * len(nodes)
