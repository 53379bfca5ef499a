"""Reports what goes wrong in numbers: datagrams that the kernel dropped, relays that could not keep up, full queues."""

from __future__ import annotations

from fastroute.router.control.counters import Counters
from fastroute.router.control.relays import Relays
from fastroute.router.control.subscriptions import SubscriptionServer
from fastroute.router.protocol.static_pools import MAPPED
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.logs import get_logger

#: Seconds between two lines about drops, and about full queues: a flood makes them all the time.
DROPS_LOG_INTERVAL = 10.0
#: Keys with a full queue that are named each time, those with the most requests.
MAX_FULL_QUEUES = 10

log = get_logger("fastroute.router")


class HealthReporter:
    """Compares the counts with those of the last check, and reports what is new: in the log, and in ``events``."""

    def __init__(self, events: EventLog, subscriptions: SubscriptionServer, relays: Relays, counters: Counters) -> None:
        self._events, self._subscriptions, self._relays, self._counters = events, subscriptions, relays, counters
        # A socket that was there before this process has dropped before it.
        self._dropped = subscriptions.dropped
        self._reported_at = float("-inf")
        self._resets = [channel.resets for channel in relays.channels]
        self._full_reported_at = float("-inf")

    def check(self, now: float) -> None:
        """Report what is new at ``now`` (monotonic); to be called every second or so."""
        dropped = self._subscriptions.dropped - self._dropped
        if dropped > 0 and now - self._reported_at >= DROPS_LOG_INTERVAL:
            self._reported_at, self._dropped = now, self._dropped + dropped
            text = f"{dropped} subscription datagrams dropped by the kernel: they came faster than they are read"
            log.warning("%s", text)
            self._events.add("subscriptions-dropped", text=text, count=dropped)
        full = self._counters.full
        if full and now - self._full_reported_at >= DROPS_LOG_INTERVAL:
            self._full_reported_at = now
            for key, requests in full.most_common(MAX_FULL_QUEUES):
                text = f"{requests} requests found the queue full (--wait-max) and were answered 503"
                key = key.removeprefix(MAPPED)
                log.warning("%s => %s", key, text, extra={"key": key})
                self._events.add("queue-full", key=key, text=text, count=requests)
            full.clear()
        for at, channel in enumerate(self._relays.channels):
            if channel.resets != self._resets[at]:
                self._resets[at] = channel.resets
                text = f"relay {channel.index} lagged and is brought up to date by a snapshot"
                self._events.add("relay-lagged", text=text, relay=channel.index)
