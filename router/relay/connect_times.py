"""How long connecting to a node takes, and from when on it takes too long.  Pure.

A machine that died answers nothing: each connect to it would wait for ``--connect-timeout``.  What is too long is
learnt from what was normal for the node, as TCP learns its time-outs: the mean, and four times the deviation from it.
Of a node that is new, or was there at once so far, nothing is known: then the shortest counts.  One that is far away is
given up at first, and it is learnt without a request that waits how far that is (slow_connects.py).
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.node import Node

#: Seconds that a connect may take at least, whatever is normal: a busy machine's answer may be late.
MIN_CONNECT_TIMEOUT: Final = 0.25
#: Seconds after which TCP sends its first packet again.  What took as long tells nothing of how far away a node is.
SYN_TIMEOUT: Final = 1.0
_MEAN_SHARE: Final = 0.125
_DEVIATION_SHARE: Final = 0.25


def learn(node: Node, seconds: float) -> None:
    """A connection to ``node``, which was not there at once, took so long."""
    if seconds >= SYN_TIMEOUT:
        return
    if node.connect_mean < 0.0:
        node.connect_mean, node.connect_deviation = seconds, seconds / 2
        return
    node.connect_deviation += _DEVIATION_SHARE * (abs(seconds - node.connect_mean) - node.connect_deviation)
    node.connect_mean += _MEAN_SHARE * (seconds - node.connect_mean)


def connect_limit(node: Node, longest: float) -> float:
    """Seconds after which a connect to ``node`` takes too long, ``longest`` at most."""
    return min(longest, max(MIN_CONNECT_TIMEOUT, node.connect_mean + 4 * node.connect_deviation))
