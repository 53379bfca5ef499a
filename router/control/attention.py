"""What nobody reports and people want to know: datagrams that the kernel dropped, relays that could not keep up."""

from __future__ import annotations

from fastroute.router.control.relays import Relays
from fastroute.router.control.subscriptions import SubscriptionServer
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.logs import get_logger

#: Seconds between two lines about drops: a flood drops all the time.
INTERVAL = 10.0

log = get_logger("fastroute.router")


class Attention:
    """Looks, compares with the last look, and says what is new: to the log, and to ``events``."""

    def __init__(self, events: EventLog, subscriptions: SubscriptionServer, relays: Relays) -> None:
        self._events, self._subscriptions, self._relays = events, subscriptions, relays
        # A socket that was there before this process has dropped before it.
        self._dropped = subscriptions.dropped
        self._said = float("-inf")
        self._resets = [one.resets for one in relays.channels]

    def look(self, now: float) -> None:
        """Once in a while; ``now`` is monotonic."""
        dropped = self._subscriptions.dropped - self._dropped
        if dropped > 0 and now - self._said >= INTERVAL:
            self._said, self._dropped = now, self._dropped + dropped
            text = f"{dropped} subscription datagrams dropped by the kernel: they came faster than they are read"
            log.warning("%s", text)
            self._events.add("subscriptions-dropped", text=text, count=dropped)
        for at, channel in enumerate(self._relays.channels):
            if channel.resets != self._resets[at]:
                self._resets[at] = channel.resets
                text = f"relay {channel.index} lagged and is brought up to date by a snapshot"
                self._events.add("relay-lagged", text=text, relay=channel.index)
