"""Ejection by answers, in one relay: what reports say of nodes is judged, and verdicts are carried out and told.

Nothing of it is in the way of a request: a relay looks at the nodes that it is about to report anyway, five times a
second.  A node that was ejected for its answers is tried with one request like any other, but it is back only when that
was answered well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastroute.router.relay.answer_judge import MIN_ANSWERS, WINDOW, worst_node
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.level import EJECTED, FULL, READY, TRIAL
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool

#: The place of 5xx in ``Node.statuses``.
_ERRORS: Final = 4


def judge_answers(context: RelayContext, nodes: Iterable[Node]) -> None:
    """Take in what ``nodes`` have answered since the last look, and eject, or take back, those that earned it."""
    suspects: dict[Node, None] = {}
    for node in nodes:
        judge = node.pool.judge
        if judge is None:
            continue
        answers, errors = sum(node.statuses), node.statuses[_ERRORS]
        more, more_errors = answers - node.seen_answers, errors - node.seen_errors
        node.seen_answers, node.seen_errors = answers, errors
        if node.probation:
            if node.state == TRIAL:
                _judge_trial(context, node, more, more_errors)
        elif more:
            judge.add(node, more, more_errors, context.now)
            if more_errors:
                suspects[node] = None
    for node in suspects:
        _judge_suspect(context, node)


def _judge_suspect(context: RelayContext, suspect: Node) -> None:
    """Eject the worst node of its key, if ``suspect`` has so many errors that this may be one."""
    pool = suspect.pool
    judge = pool.judge
    if judge is None or not isinstance(pool, Pool):
        return
    answers, errors = judge.counts(suspect)
    if answers < MIN_ANSWERS or 2 * errors <= answers:
        return
    judge.expire(context.now)
    serving = [node for node in pool.nodes.values() if node.state in (READY, FULL)]
    ejected = sum(node.state in (EJECTED, TRIAL) for node in pool.nodes.values())
    counts = [judge.counts(node) for node in serving]
    place = worst_node(counts, ejected)
    if place < 0:
        return
    node, (answers, errors) = serving[place], counts[place]
    others = sum(count[0] for count in counts) - answers
    their_errors = sum(count[1] for count in counts) - errors
    reason = f"{errors} of its {answers} answers in {WINDOW:g} s were errors, {their_errors} of {others} of the others"
    context.node_ejected(node, reason, pool.eject_for_answers(node, context.now))


def _judge_trial(context: RelayContext, node: Node, answers: int, errors: int) -> None:
    pool = node.pool
    assert isinstance(pool, Pool)
    if errors:
        seconds = pool.eject_for_answers(node, context.now)
        context.node_ejected(node, "its trial was answered by an error", seconds, again=True)
    elif answers:
        pool.passed(node, context.now)
        context.node_recovered(node, "answers well again")
    elif not node.in_flight:
        pool.undecided(node, context.now)
