"""Ejection by answers, in one relay: what reports say of nodes is judged, and verdicts are carried out and told.

Nothing of it is in the way of a request that is answered well: a relay looks at the nodes that it is about to report
anyway, five times a second.  Those that answered with errors are looked at with the next tick of the loop, so that one
that breaks altogether is out with the tenth error.  A node that was ejected for its answers is tried with one request
like any other, but it is back only when that was answered well.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastroute.router.relay.answer_judge import WINDOW, may_eject, worst_node
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.level import EJECTED, FULL, READY, TRIAL
from fastroute.router.relay.node import ERRORS, Node
from fastroute.router.relay.pool import Pool


def judge_erring(context: RelayContext) -> None:
    """Take in what nodes that answered with errors have answered; eject one whose errors have just become enough."""
    alarmed = False
    for node in context.erring:
        judge = node.pool.judge
        if judge is not None and not node.probation:
            before = judge.has_run(node)
            _take_in(context, node)
            alarmed |= not before and judge.has_run(node)
    if alarmed:
        # What the others have answered meanwhile decides.
        judge_answers(context, dict.fromkeys((*context.reports.nodes, *context.erring)))


def judge_answers(context: RelayContext, nodes: Iterable[Node]) -> None:
    """Take in what ``nodes`` have answered since the last look, and eject, or take back, those that earned it."""
    suspects: dict[Pool, list[Node]] = {}
    for node in nodes:
        judge, pool = node.pool.judge, node.pool
        if judge is None or not isinstance(pool, Pool):
            context.erring.pop(node, None)
            continue
        if node.probation:
            context.erring.pop(node, None)
            answers, errors = _news(node)
            if node.state == TRIAL:
                _judge_trial(context, pool, node, answers, errors)
            continue
        erred = _take_in(context, node)
        if node in context.erring:
            del context.erring[node]
            erred = True
        if erred and judge.is_suspect(node):
            suspects.setdefault(pool, []).append(node)
    for pool, of_pool in suspects.items():
        _judge_pool(context, pool, of_pool)


def _news(node: Node) -> tuple[int, int]:
    """What ``node`` has answered since this was asked last, and errors among it."""
    answers, errors = sum(node.statuses), node.statuses[ERRORS]
    more = answers - node.seen_answers, errors - node.seen_errors
    node.seen_answers, node.seen_errors = answers, errors
    return more


def _take_in(context: RelayContext, node: Node) -> bool:
    """Its pool's judge knows what ``node`` has answered.  Returns whether there are new errors among it."""
    answers, errors = _news(node)
    if answers and node.pool.judge is not None:
        node.pool.judge.add(node, answers, errors, context.now)
    return errors > 0


def _judge_pool(context: RelayContext, pool: Pool, suspects: list[Node]) -> None:
    """Eject the worst node, if one of ``suspects`` stands out."""
    judge = pool.judge
    serving = {node: None for node in pool.nodes.values() if node.state in (READY, FULL)}
    ejected = sum(node.state in (EJECTED, TRIAL) for node in pool.nodes.values())
    if judge is None or not may_eject(len(serving) + ejected, ejected):
        return
    judge.expire(context.now)
    nodes = [*serving]
    counts = [judge.counts(node) for node in nodes]
    place = worst_node(counts)
    if place >= 0:
        own_counts = counts[place]
        others = sum(count[0] for count in counts) - own_counts[0], sum(count[1] for count in counts) - own_counts[1]
        _eject(context, pool, nodes[place], _reason(own_counts, others, WINDOW))
        return
    verdict = judge.worst_run([node for node in suspects if node in serving], serving)
    if verdict is not None:
        _eject(context, pool, verdict.node, _reason(verdict.own, verdict.others, context.now - verdict.since))


def _eject(context: RelayContext, pool: Pool, node: Node, reason: str) -> None:
    seconds = pool.eject_for_answers(node, context.now)
    context.node_ejected(node, reason, seconds)


def _reason(own: tuple[int, int], others: tuple[int, int], span: float) -> str:
    # Answers are counted up to a look apart.
    text = f"{own[1]} of its {own[0]} answers in {min(span + 0.2, WINDOW):.1f} s were errors"
    return f"{text}, {others[1]} of {others[0]} of the others"


def _judge_trial(context: RelayContext, pool: Pool, node: Node, answers: int, errors: int) -> None:
    if errors:
        seconds = pool.eject_for_answers(node, context.now)
        context.node_ejected(node, "its trial was answered by an error", seconds, again=True)
    elif answers:
        pool.passed(node, context.now)
        context.node_recovered(node, "answers well again")
    elif not node.in_flight:
        pool.undecided(node, context.now)
