"""The queue of one key, and what an operator asked for the key: both keep its nodes from requests that come.  Pure."""

from __future__ import annotations

from typing import Final, Generic

from fastroute.router.relay.level import LevelNode
from fastroute.router.relay.serving_state import MAINTENANCE, NORMAL, PAUSED, ServingState
from fastroute.router.relay.waiting import P, QueueSchedule, Waiter, WaitingQueue

#: Seconds that a request may wait at least when the pause of its key is over, so that no pause uses up its time.
MIN_WAIT_AFTER_PAUSE: Final = 5.0
#: Seconds that a pause lasts at most where control does not say how long (docs/reference/ctl.md).
MAX_PAUSE: Final = 600.0


class KeyQueue(Generic[P]):
    """Of the key of ``pool``, which ``schedule`` knows while somebody waits."""

    __slots__ = ("_pool", "_schedule", "queue", "state")

    def __init__(self, pool: P, schedule: QueueSchedule[P]) -> None:
        self._pool = pool
        self._schedule = schedule
        self.queue = WaitingQueue()
        self.state = NORMAL

    @property
    def paused(self) -> bool:
        """True while no request is served."""
        return self.state.name == PAUSED

    @property
    def closed(self) -> bool:
        """True while a request that comes does not simply get a node."""
        return self.state is not NORMAL or self.queue.any_node > 0

    def passes(self, client: bytes) -> bool:
        """True when only maintenance keeps requests off, and not that of the client at this address."""
        return self.state.name == MAINTENANCE and not self.queue.any_node and self.state.lets_pass(client)

    def set_state(self, state: ServingState, now: float, wait: float) -> None:
        """From now on requests are served, wait, or are told of maintenance; ``wait``: the time that each has."""
        if self.paused or state.name == PAUSED:
            ends = now if state.name != PAUSED else state.ends or now + MAX_PAUSE
            self.queue.hold(ends + max(wait, MIN_WAIT_AFTER_PAUSE))
        self.state = state
        self.queue.try_all()
        self.wake()

    def may_join(self, wait: float) -> bool:
        """Whether a request may wait that has ``wait`` seconds for it.

        Behind a pause requests wait although the key gives them no time: nobody overtakes them.
        """
        return wait > 0 or self.paused or self.queue.any_node > 0

    def join(self, waiter: Waiter, now: float, wait: float, choosy: bool, wanted: LevelNode | None = None) -> None:
        """``waiter`` waits from now on, for ``wait`` seconds in all; ``wanted``: the one node that it waits for."""
        queue = self.queue
        deadline = now + wait if wait or not len(queue) else max(now, queue.last_deadline)
        queue.join(waiter, now, deadline, choosy, wanted)
        self._schedule.waiting += 1

    def leave(self, waiter: Waiter, now: float) -> None:
        """``waiter`` waits no longer."""
        self.queue.leave(waiter, now)
        self._schedule.waiting -= 1
        if not len(self.queue):
            self._schedule.forget(self._pool)

    def wake(self) -> None:
        """There may be a node for the one that is next."""
        if len(self.queue):
            self._schedule.wake(self._pool)
