"""How long connecting to a node takes, and from when on it takes too long.  Pure.

A machine that died answers nothing: each connect to it would wait for ``--connect-timeout``.  What is too long is
learnt from what was normal for the node, as TCP learns its time-outs: the mean, and four times the deviation from it.
It counts only while the node is silent altogether: a worker with a full queue still answers others.  Of a node that is
new nothing is known: the shortest is tried first, and twice as long after each failure, as its machine may be far away,
or not be reached yet (a swarm whose other nodes died tells its overlay late).
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.node import Node

#: Seconds that a connect may take at least, whatever is normal: a busy machine's answer may be late.
MIN_CONNECT_TIMEOUT: Final = 0.25
_MAX_DOUBLINGS: Final = 8
_MEAN_SHARE: Final = 0.125
_DEVIATION_SHARE: Final = 0.25


def learn(node: Node, seconds: float) -> None:
    """A connection to ``node``, which was not there at once, took so long."""
    if node.connect_mean < 0.0:
        node.connect_mean, node.connect_deviation = seconds, seconds / 2
        return
    node.connect_deviation += _DEVIATION_SHARE * (abs(seconds - node.connect_mean) - node.connect_deviation)
    node.connect_mean += _MEAN_SHARE * (seconds - node.connect_mean)


def connect_limit(node: Node, longest: float) -> float:
    """Seconds after which a connect to ``node`` takes too long, ``longest`` at most."""
    if node.connect_mean >= 0.0:
        return min(longest, max(MIN_CONNECT_TIMEOUT, node.connect_mean + 4 * node.connect_deviation))
    if node.tx:
        # All were there at once.
        return min(longest, MIN_CONNECT_TIMEOUT)
    return min(longest, MIN_CONNECT_TIMEOUT * (1 << min(node.streak, _MAX_DOUBLINGS)))
