"""The relay's loop: hand events to sessions, keep time, talk to control, drain.  The hot path, nothing else.

Plain epoll over raw descriptors; stream.py and session.py are the state machine of one request.  What is kept here:

* ``by_worker`` and ``by_client``: which session an event belongs to.  Every session that waits for anything is in one.
* ``closing``: descriptors are closed after all events at hand, so that no number is given out while an event for its
  former owner is still to come.
* ``now`` is read once a turn; nothing else asks the clock.
* Time is coarse: a tick every ``TICK`` seconds while there is anything to watch, none when there is nothing (idle costs
  nothing).  No timer per session.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from fastroute.router.logs import RateLimit, get_logger
from fastroute.router.relay.access_log import AccessLog
from fastroute.router.relay.channel import Channel
from fastroute.router.relay.front import ACCEPTS, Front
from fastroute.router.relay.kept import Kept
from fastroute.router.relay.pool import Node
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.reserve import Reserve
from fastroute.router.relay.sides import HEAD, RELAY, Sides
from fastroute.router.relay.untold import Untold
from fastroute.router.wire import HEADER_SIZE, MAX_BLOCK

#: Seconds between ticks, and the age at which a request's client is watched: who leaves is seen within 0.1 s.
TICK: Final = 0.05
#: Seconds between looks at every session's silence, at most.
SCAN: Final = 0.5
#: Seconds between reports to control.
REPORT: Final = 0.2
#: Seconds that a connection without a request is kept when the end begins: what was on its way arrives.
SILENT: Final = 1.0
#: Descriptors that are not for requests: listening sockets, channel, epoll, log.
RESERVED: Final = 64
#: One of how many descriptors may be a connection that waits for its next request (kept.py).
KEPT_SHARE: Final = 8

log = get_logger("fastroute.relay")


class Relay:
    """One relay process.  ``settings`` are INTERFACE.md's options with underscores."""

    def __init__(self, settings: dict[str, Any], listeners: list[int], channel_fd: int, lifeline_fd: int,
                 max_descriptors: int, index: int = 0, owns: Callable[[str], bool] | None = None) -> None:  # fmt: skip
        several = int(settings.get("processes", 1)) > 1
        #: Which relay speaks, where several would say the same.
        self._who = f" (relay {index})" if several else ""
        self.connect_timeout = float(settings.get("connect_timeout", 3.0))
        self.timeout = float(settings.get("timeout", 60.0))
        self.client_timeout = float(settings.get("client_timeout", 60.0))
        self.idle_timeout = float(settings.get("idle_timeout", 3600.0))
        self.drain_timeout = float(settings.get("drain_timeout", 30.0))
        self.max_retries = int(settings.get("max_retries", 3))
        self.max_packet = HEADER_SIZE + min(int(settings.get("buffer_size", MAX_BLOCK)), MAX_BLOCK)
        self.post_buffering = int(settings.get("post_buffering", 0))
        shortest = min(self.connect_timeout, self.timeout, self.client_timeout)
        self._scan_every = max(0.05, min(SCAN, shortest / 4))

        self.now = time.monotonic()
        self.epoll = select.epoll()
        self.by_worker: dict[int, Sides] = {}
        self.by_client: dict[int, Sides] = {}
        self.closing: list[int] = []
        #: Connect and answer times are measured: somebody may ask for metrics, or there is an access log.
        self.timed = settings.get("admin", "") is not None or settings.get("access_log") is not None
        self.access_log: AccessLog | None = None
        if settings.get("access_log") is not None:
            self.access_log = AccessLog(settings["access_log"], settings.get("log_format"), self._say, self.now)
        self._reopen = False

        self.requests = 0
        self.errors: dict[str, int] = {}
        self.errors_changed = False
        self.untold = Untold()
        self.dirty, self.hit = self.untold.nodes, self.untold.keys
        self._reported = (-1, -1)

        chance = random.Random()
        self.request_id = chance if settings.get("request_id") else None
        self.replica = Replica(chance, bool(settings.get("dotsplit", False)), int(settings.get("mountpoints", 0)))
        self._owns = owns
        self.reserve = Reserve(settings, self.replica.reserve, chance, self._is_own)
        self.channel = Channel(channel_fd, self._apply)
        self._lifeline = lifeline_fd
        self._limiter = RateLimit()
        #: Requests by age, until their client is watched.
        self.young: deque[tuple[float, Sides]] = deque()
        self.kept = Kept(max_descriptors // KEPT_SHARE)
        free = max_descriptors - RESERVED - self.kept.limit
        self.front = Front(self, listeners, several, free // (3 if self.post_buffering else 2),
                           max_descriptors)  # fmt: skip
        self._draining = self._closed = False
        self._ends = math.inf
        self._next_tick = self._next_scan = self._next_report = 0.0
        self.epoll.register(channel_fd, select.EPOLLIN)
        self.epoll.register(lifeline_fd, 0)

    def run(self, wakeup_fd: int) -> None:
        """Until drained.  Signals come as bytes from ``wakeup_fd``: compiled code may run no handler for long."""
        self.epoll.register(wakeup_fd, select.EPOLLIN)
        special: dict[int, Callable[[], None]] = {
            self.channel.fd: self._on_channel,
            self._lifeline: self._on_lifeline,
            wakeup_fd: lambda: self._on_signals(wakeup_fd),
        }
        poll, workers, clients = self.epoll.poll, self.by_worker, self.by_client
        front, listeners, kept = self.front, self.front.listeners, self.kept.waiting
        while True:
            front.listen(self.replica.serves and not self._draining)
            events = poll(self._wait(), 128)
            self.now = now = time.monotonic()
            for fd, mask in events:
                session = workers.get(fd)
                if session is not None:
                    try:
                        session.on_worker(mask)
                    except Exception as fault:
                        self.failed(session, fault)
                elif fd in listeners:
                    front.accept(fd, ACCEPTS)
                elif fd in clients:
                    session = clients[fd]
                    try:
                        session.on_client(mask)
                    except Exception as fault:
                        self.failed(session, fault)
                elif fd in kept:
                    self.kept.closed(fd, now)
                    self.closing.append(fd)
                elif fd in special:
                    special[fd]()
            over = now >= self._next_tick and self._tick(now)
            if self.closing:
                for fd in self.closing:
                    os.close(fd)
                self.closing.clear()
            if over:
                return

    def leave(self) -> None:
        """Stop accepting; :meth:`run` returns once the requests in flight have ended."""
        self._draining = True
        self._next_tick = 0.0

    def drain(self) -> None:
        """Stop accepting; :meth:`run` returns once the requests in flight have ended, or ``drain_timeout`` is over."""
        self._ends = min(self._ends, time.monotonic() + self.drain_timeout)
        self.leave()

    def reopen_log(self) -> None:
        """The access log's file was renamed: begin a new one.  Done at the end of this turn."""
        self._reopen = True
        self._next_tick = self._next_report = 0.0

    # For sessions.

    def tell_failed(self, node: Node, reason: str, seconds: float) -> None:
        """``node`` was ejected.  Logged when it begins, not at every failed trial."""
        level = logging.WARNING if node.streak == 1 else logging.DEBUG
        log.log(level, "%s => %s ejected for %.2f s: %s%s", node.key, node.address, seconds, reason, self._who,
                extra={"key": node.key, "node": node.address})  # fmt: skip
        self.channel.send(["failed", node.pool.name, node.address, reason, round(seconds, 3)])

    def tell_recovered(self, node: Node) -> None:
        """``node`` takes requests again."""
        log.info("%s => %s is back%s", node.key, node.address, self._who, extra={"key": node.key, "node": node.address})
        self.channel.send(["recovered", node.pool.name, node.address])

    def failed(self, session: Sides, fault: Exception) -> None:
        """A ``fault`` of ours: it costs the request that met it, and no other."""
        held = self._limiter.allow(("fault", type(fault)), self.now)
        if held is not None:
            log.error("a fault of the router cost a request%s; please report it%s", self._who,
                      f" ({held} more since)" if held else "", exc_info=fault)  # fmt: skip
        try:
            session.fail()
        except Exception:
            log.exception("its connections can't be ended in order, either")
            session.drop()

    def warn(self, what: Any, text: str, *arguments: object) -> None:
        """Log a warning, once in a while for each ``what``."""
        held = self._limiter.allow(what, self.now)
        if held is not None:
            log.warning(text + (f" ({held} more since the last such line)" if held else ""), *arguments)

    def _is_own(self, address: str) -> bool:
        own = self._owns is not None and self._owns(address)
        if own:
            self.warn(("own", address), "%s is this router itself: no key maps to it", address)
        return own

    # Control.

    def _apply(self, ops: list[Any]) -> None:
        if any(op and op[0] == "reset" for op in ops):
            self.untold.everything(self.replica)
            self._reported = (-1, -1)
            self.errors_changed = True
        stopped = self.untold.stop(self.replica, ops)
        for problem in self.replica.apply(ops):
            self.warn("op", "control said what makes no sense here: %s", problem)
        if stopped:
            self._tell_numbers(0)

    def _on_channel(self) -> None:
        problem = self.channel.receive()
        if problem:
            self.warn("channel", "%s", problem)
        if not self.channel.open:
            self.epoll.unregister(self.channel.fd)

    def _on_lifeline(self) -> None:
        if self.access_log is not None:
            self.access_log.flush(self.now)
        os._exit(1)

    def _on_signals(self, fd: int) -> None:
        numbers = os.read(fd, 4096)
        if signal.SIGTERM in numbers:
            self.drain()
        if signal.SIGHUP in numbers:
            self.leave()
        if signal.SIGUSR1 in numbers:
            self.reopen_log()

    def _say(self, text: str) -> None:
        log.warning("%s%s", text, self._who)

    # Time.

    def _wait(self) -> float:
        """How long epoll may sleep: to the next tick while anything is watched, for ever otherwise."""
        if (
            self.by_worker or self.by_client or self.kept.waiting or self.dirty or self.hit or self.errors_changed
            or (self.access_log is not None and self.access_log.waiting)
            or self._draining or self.channel.waiting or self.front.paused_until > self.now
        ):  # fmt: skip
            return max(0.0, self._next_tick - self.now)
        return -1.0

    def _tick(self, now: float) -> bool:
        """Whatever is done once in a while.  True: drained, the end."""
        self._next_tick = now + TICK
        young = self.young
        while young and young[0][0] <= now - TICK:
            _, session = young.popleft()
            if session.state <= RELAY:
                try:
                    session.watch()
                except Exception as fault:
                    self.failed(session, fault)
        if now >= self._next_scan:
            self._next_scan = now + self._scan_every
            for session in [*self.by_worker.values(), *self.by_client.values()]:
                try:
                    session.check(now)
                except Exception as fault:
                    self.failed(session, fault)
            self.closing += self.kept.expire(now)
            self.reserve.expire(now)
        if now >= self._next_report:
            self._next_report = now + REPORT
            self._report()
        if not self._draining:
            return False
        if not self._closed:
            self._closed = True
            self.front.close(self.replica.serves)
            self.closing += self.kept.close_all()
            log.info("draining: %d requests in flight", len(self.by_worker))
        return self._over(now)

    def _report(self) -> None:
        self.channel.flush()
        if self.access_log is not None:
            if self._reopen:
                self._reopen = False
                self.access_log.reopen(self.now)
            else:
                self.access_log.flush(self.now)
        self._tell_numbers(self.untold.rows(self.requests - self._reported[0]))

    def _tell_numbers(self, most: int) -> None:
        totals: dict[str, Any] = {}
        in_flight = len(self.by_worker)
        if self._reported != (self.requests, in_flight):
            self._reported = (self.requests, in_flight)
            totals = {"requests": self.requests, "in_flight": in_flight}
        if self.errors_changed:
            totals["errors"] = dict(self.errors)
            self.errors_changed = False
        if totals or self.dirty or self.hit:
            self.channel.send_counters(*self.untold.take(most), totals)

    def _over(self, now: float) -> bool:
        for session in list(self.by_client.values()):
            if session.state == HEAD and session.partial is None and session.began + SILENT <= now:
                session.close()
        if (self.by_worker or self.by_client) and now < self._ends:
            return False
        if self.by_worker:
            log.warning("drain time-out: %d requests cut off", len(self.by_worker))
            for session in list(self.by_worker.values()):
                session.fault = "cut-off"
                session.close()
        self._reported = (-1, -1)
        self.untold.whole = True
        self._report()
        return True
