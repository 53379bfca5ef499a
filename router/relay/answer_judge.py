"""Which node of a key is ejected for its answers: most of its last ones were errors, and the others do better.  Pure.

Errors are answers with 5xx, and the router's own 502 and 504 on behalf of the node.  Each relay judges by the answers
that it saw itself.  The numbers come as they are, at any time, and the clock is passed in.

Two spans of time are looked at.  The whole window tells of a node that answers some of its requests well.  A node that
was well for long and breaks altogether would need half of the window until most of its answers are errors: that one is
told by its last answers, when all of them were errors.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        return (answers >= MIN_ANSWERS and 2 * errors > answers) or self._run(node)[1] >= MIN_ANSWERS

    def run_began(self, node: N) -> float:
        """The time since which ``node`` has answered nothing but errors, enough of them to tell; -1: it has not."""
        since, count = self._run(node)
        return since if count >= MIN_ANSWERS else -1.0

    def counts_since(self, since: float, nodes: Sequence[N]) -> list[tuple[int, int]]:
        """Answers of each of ``nodes`` since then, and errors among them."""
        sums = dict.fromkeys(nodes, (0, 0))
        for at, node, answers, errors in self._pieces:
            if at >= since and node in sums:
                before = sums[node]
                sums[node] = before[0] + answers, before[1] + errors
        return [sums[node] for node in nodes]

    def _run(self, node: N) -> tuple[float, int]:
        return self._runs.get(node, (0.0, 0))

    def _change(self, node: N, answers: int, errors: int) -> None:
        before = self._sums.get(node, (0, 0))
        after = before[0] + answers, before[1] + errors
        if after[0]:
            self._sums[node] = after
        else:
            # Whoever has answered nothing within the window has no run that would count.
            self._sums.pop(node, None)
            self._runs.pop(node, None)


def worst_node(counts: Sequence[tuple[int, int]], ejected: int) -> int:
    """The place in ``counts`` of the node that is to be ejected, -1: none is.

    ``counts``: answers and errors of each node that serves; ``ejected``: how many more the key has that don't.
    """
    nodes = len(counts) + ejected
    most = 1 if nodes == 2 else nodes // NODES_FOR_EACH
    if ejected >= most or len(counts) < 2:
        return -1
    all_answers, all_errors = sum(count[0] for count in counts), sum(count[1] for count in counts)
    worst, worst_share = -1, 0.0
    for place, (answers, errors) in enumerate(counts):
        others, their_errors = all_answers - answers, all_errors - errors
        if answers < MIN_ANSWERS or others < MIN_ANSWERS or 2 * errors <= answers:
            continue
        if TIMES_BETTER * their_errors * answers <= errors * others and errors / answers > worst_share:
            worst, worst_share = place, errors / answers
    return worst
