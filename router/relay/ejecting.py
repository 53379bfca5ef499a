"""Ejection by answers, in one relay: what reports say of nodes is judged, and verdicts are carried out and told.

Nothing of it is in the way of a request: a relay looks at the nodes that it is about to report anyway, five times a
second.  A node that was ejected for its answers is tried with one request like any other, but it is back only when that
was answered well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastroute.router.relay.answer_judge import WINDOW, worst_node
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
    if judge is None or not isinstance(pool, Pool) or not judge.is_suspect(suspect):
        return
    judge.expire(context.now)
    serving = [node for node in pool.nodes.values() if node.state in (READY, FULL)]
    ejected = sum(node.state in (EJECTED, TRIAL) for node in pool.nodes.values())
    spans = [context.now - WINDOW]
    if (began := judge.run_began(suspect)) >= 0:
        spans.append(began)
    for since in spans:
        counts = judge.counts_since(since, serving)
        place = worst_node(counts, ejected)
        if place >= 0:
            seconds = pool.eject_for_answers(serving[place], context.now)
            context.node_ejected(serving[place], _reason(counts, place, context.now - since), seconds)
            return


def _reason(counts: list[tuple[int, int]], place: int, span: float) -> str:
    answers, errors = counts[place]
    others = sum(count[0] for count in counts) - answers
    their_errors = sum(count[1] for count in counts) - errors
    # Answers are counted up to a look apart.
    said = f"{errors} of its {answers} answers in {min(span + 0.2, WINDOW):.1f} s were errors"
    return f"{said}, {their_errors} of {others} of the others"


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
