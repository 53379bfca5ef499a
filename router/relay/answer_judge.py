"""Which node of a key is ejected for its answers: most of its last ones were errors, and the others do better.  Pure.

Errors are answers with 5xx, and the router's own 502 and 504 on behalf of the node.  Each relay judges by the answers
that it saw itself.  The numbers come as they are, at any time, and the clock is passed in.

Two spans of time are looked at.  The whole window shows a node that answers some of its requests well.  In a node that
was well for long and breaks altogether, it would take half of the window until most answers are errors: such a node is
recognised by a run of errors at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Generic, TypeVar

#: Seconds that are looked back.
WINDOW: Final = 10.0
#: Answers of a node, and of all others of its key together, that it takes to compare them.
MIN_ANSWERS: Final = 10
#: The share of errors of the others must be this many times smaller.
TIMES_BETTER: Final = 3
#: Of how many nodes one may be ejected for its answers; of two nodes one may be.
NODES_FOR_EACH: Final = 3

N = TypeVar("N")


class AnswerJudge(Generic[N]):
    """The answers of the nodes of one key within the last ``WINDOW`` seconds."""

    __slots__ = ("_pieces", "_runs", "_sums")

    def __init__(self) -> None:
        #: For each time at which answers were counted: node, answers, errors; the oldest first.
        self._pieces: list[tuple[float, N, int, int]] = []
        self._sums: dict[N, tuple[int, int]] = {}
        #: Of nodes whose last answers were errors, all of them: since when, and how many.
        self._runs: dict[N, tuple[float, int]] = {}

    def add(self, node: N, answers: int, errors: int, now: float) -> None:
        """``node`` has given so many answers more, ``errors`` among them."""
        if answers <= 0:
            return
        self._pieces.append((now, node, answers, errors))
        self._change(node, answers, errors)
        if errors < answers:
            self._runs.pop(node, None)
        else:
            since, count = self._runs.get(node, (now, 0))
            self._runs[node] = (since, count + errors)

    def expire(self, now: float) -> None:
        """What is older than the window counts no longer."""
        count = 0
        for at, node, answers, errors in self._pieces:
            if at > now - WINDOW:
                break
            count += 1
            self._change(node, -answers, -errors)
        del self._pieces[:count]

    def forget(self, node: N) -> None:
        """What ``node`` has answered so far counts no longer."""
        self._runs.pop(node, None)
        if self._sums.pop(node, None) is not None:
            self._pieces = [piece for piece in self._pieces if piece[1] != node]

    def counts(self, node: N) -> tuple[int, int]:
        """Answers of ``node`` within the window, and errors among them."""
        return self._sums.get(node, (0, 0))

    def is_suspect(self, node: N) -> bool:
        """Whether ``node`` has so many errors that it may have to be ejected, if the others do better."""
        answers, errors = self.counts(node)
        return (answers >= MIN_ANSWERS and 2 * errors > answers) or self.has_run(node)

    def has_run(self, node: N) -> bool:
        """Whether the last answers of ``node`` were all errors, enough of them to tell."""
        return self._run(node)[1] >= MIN_ANSWERS

    def worst_run(self, suspects: Sequence[N], serving: Collection[N]) -> RunVerdict[N] | None:
        """Of ``suspects`` one that has answered nothing but errors for a time in which the others that are ``serving``
        did better; None: there is none.

        All answers are walked through once, the newest first, however many suspects there are: when all nodes of a
        large key fail, each of them is one.
        """
        began = sorted(((self._run(node)[0], place) for place, node in enumerate(suspects) if self.has_run(node)))
        sums: dict[N, tuple[int, int]] = {}
        all_answers = all_errors = 0
        at = len(self._pieces)
        while began:
            since, place = began.pop()
            while at and self._pieces[at - 1][0] >= since:
                at -= 1
                _, node, answers, errors = self._pieces[at]
                if node in serving:
                    before = sums.get(node, (0, 0))
                    sums[node] = before[0] + answers, before[1] + errors
                    all_answers += answers
                    all_errors += errors
            suspect = suspects[place]
            own = sums.get(suspect, (0, 0))
            others = all_answers - own[0], all_errors - own[1]
            if stands_out(own, others):
                return RunVerdict(suspect, own, others, since)
        return None

    def _run(self, node: N) -> tuple[float, int]:
        return self._runs.get(node, (0.0, 0))

    def _change(self, node: N, answers: int, errors: int) -> None:
        before = self._sums.get(node, (0, 0))
        after = before[0] + answers, before[1] + errors
        if after[0]:
            self._sums[node] = after
        else:
            # A node that has answered nothing within the window has no run that would count.
            self._sums.pop(node, None)
            self._runs.pop(node, None)


class RunVerdict(Generic[N]):
    """``node`` has answered nothing but errors since ``since`` (monotonic).

    ``own`` and ``others``: the answers since then, and the errors among them, of this node and of all others.
    """

    __slots__ = ("node", "others", "own", "since")

    def __init__(self, node: N, own: tuple[int, int], others: tuple[int, int], since: float) -> None:
        self.node = node
        self.own = own
        self.others = others
        self.since = since


def stands_out(own: tuple[int, int], others: tuple[int, int]) -> bool:
    """Whether most of a node's answers (how many, and errors among them) were errors, and the others did better."""
    if own[0] < MIN_ANSWERS or others[0] < MIN_ANSWERS or 2 * own[1] <= own[0]:
        return False
    return TIMES_BETTER * others[1] * own[0] <= own[1] * others[0]


def may_eject(nodes: int, ejected: int) -> bool:
    """Whether one more may be ejected of a key with so many ``nodes``, of which so many are ``ejected`` already."""
    most = 1 if nodes == 2 else nodes // NODES_FOR_EACH
    return ejected < most and nodes - ejected >= 2


def worst_node(counts: Sequence[tuple[int, int]]) -> int:
    """The place in ``counts`` (answers, errors of each that serves) of the node that stands out most; -1: none does."""
    all_answers, all_errors = sum(count[0] for count in counts), sum(count[1] for count in counts)
    worst, worst_share = -1, 0.0
    for place, (answers, errors) in enumerate(counts):
        others = all_answers - answers, all_errors - errors
        if stands_out((answers, errors), others) and errors / answers > worst_share:
            worst, worst_share = place, errors / answers
    return worst
