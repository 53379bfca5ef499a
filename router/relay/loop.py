"""The relay's loop: hand events to requests, keep time, talk to control, drain.  The hot path, nothing else.

Plain epoll over raw descriptors; request_events.py and what it imports are what happens to one request.

* Descriptors are closed after all events at hand, so that no number is given out while an event for its former owner is
  still to come.
* The time is read once a turn; nothing else asks the clock.
* Time is coarse: a tick every ``TICK_INTERVAL`` seconds while there is anything to watch, none when there is nothing
  (idle costs nothing).  No timer per request.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastroute.router.relay.channel import ControlChannel
from fastroute.router.relay.context import IDLE_SHARE, RelayContext, log
from fastroute.router.relay.ejecting import judge_erring
from fastroute.router.relay.error_pages import NO_PAGES, ErrorPages
from fastroute.router.relay.front import ACCEPTS_PER_EVENT, FrontSockets
from fastroute.router.relay.gone_nodes import watch_gone_nodes
from fastroute.router.relay.held_shares import HeldShares
from fastroute.router.relay.http_client import HttpClient
from fastroute.router.relay.http_events import check_client, drop_client, next_request, read_request
from fastroute.router.relay.queueing import give_up, serve_queues
from fastroute.router.relay.report_sender import ReportSender
from fastroute.router.relay.request import Request, Requests
from fastroute.router.relay.request_events import check, on_client, on_upstream, watch
from fastroute.router.relay.slow_connects import SlowConnects
from fastroute.router.relay.states import WAITING
from fastroute.router.relay.upstream import UpstreamConnection

#: Events that are asked for at a time.
EVENTS_PER_TURN: Final = 128
#: Seconds between ticks, and the age at which a request's client is watched: that it left is seen within 0.1 s.
TICK_INTERVAL: Final = 0.05
#: Seconds between looks at every request's silence, at most.
SCAN_INTERVAL: Final = 0.5
#: Seconds between looks at clients' connections while there is nothing but those.
KEPT_INTERVAL: Final = 1.0
#: Seconds between reports to control.
REPORT_INTERVAL: Final = 0.2
#: Seconds that a connection without a request is kept when the end begins: what was on its way arrives.
DRAIN_SILENCE: Final = 1.0
#: Seconds for clients to read the answers that the end brought them.
LAST_ANSWERS: Final = 0.5
#: Descriptors that are not for requests: listening sockets, channel, epoll, log.
RESERVED_DESCRIPTORS: Final = 64


class Relay:
    """One relay process.  ``settings`` are the options of ``fastroute-router`` with underscores; ``owns`` says whether
    an address is one of this router's own sockets; ``pages`` are those of ``--error-pages``."""

    def __init__(self, settings: dict[str, Any], listeners: list[int], channel_fd: int, lifeline_fd: int,
                 max_descriptors: int, index: int = 0, owns: Callable[[str], bool] | None = None,
                 pages: ErrorPages = NO_PAGES, http_listeners: Sequence[int] = ()) -> None:  # fmt: skip
        several = int(settings.get("processes", 1)) > 1
        context = RelayContext(settings, max_descriptors, f" (relay {index})" if several else "", owns,
                               time.monotonic(), pages, index)  # fmt: skip
        self.context = context
        self.requests = Requests()
        self._drain_timeout = float(settings.get("drain_timeout", 30.0))
        shortest = min(context.connect_timeout, context.timeout, context.client_timeout)
        self._scan_every = max(0.05, min(SCAN_INTERVAL, shortest / 4))
        self._channel = ControlChannel(channel_fd, self._apply)
        context.notify = self._channel.send
        context.replica.queues.on_wake = self.requests.on_ready = self._on_wake
        self._lifeline = lifeline_fd
        free = max_descriptors - RESERVED_DESCRIPTORS - max_descriptors // IDLE_SHARE
        max_requests = free // (3 if context.post_buffering else 2)
        self._front = FrontSockets(context, self.requests, listeners, several, http_listeners, max_requests,
                                   max_descriptors, self._failed, self._client_failed)  # fmt: skip
        self._reopen = False
        self._reports = ReportSender(context, self.requests, self._channel)
        self._held = HeldShares()
        self._slow_connects = SlowConnects(context, self._failed)
        #: Connections to nodes that have left, which TCP ends if nobody is there.
        self._at_gone_nodes: set[UpstreamConnection] = set()
        self._draining = self._closed = False
        self._ends = math.inf
        self._next_tick = self._next_scan = self._next_report = 0.0
        #: Requests accepted until then are watched.
        self._watched = 0.0
        context.epoll.register(channel_fd, select.EPOLLIN)
        context.epoll.register(lifeline_fd, 0)

    def run(self, wakeup_fd: int) -> None:
        """Until drained.  Signals come as bytes from ``wakeup_fd``: compiled code may run no handler for long."""
        context, requests, front = self.context, self.requests, self._front
        context.epoll.register(wakeup_fd, select.EPOLLIN)
        special: dict[int, Callable[[], None]] = {
            self._channel.fd: self._on_channel,
            self._lifeline: self._on_lifeline,
            wakeup_fd: lambda: self._on_signals(wakeup_fd),
        }
        poll, clock, close = context.epoll.poll, time.monotonic, os.close
        upstreams, clients = requests.by_upstream, requests.by_client
        listeners, idle, closing = front.listeners, context.idle.waiting, context.closing
        kept = requests.kept
        while True:
            front.listen(context.replica.serves and not self._draining)
            events = poll(self._wait(), EVENTS_PER_TURN)
            context.now = now = clock()
            if idle:
                self._close_idle(events)
            for fd, mask in events:
                request = upstreams.get(fd)
                if request is not None:
                    try:
                        on_upstream(request, mask)
                    except Exception as fault:
                        self._failed(request, fault)
                elif (client := kept.get(fd)) is not None:
                    try:
                        read_request(context, requests, client)
                    except Exception as fault:
                        self._client_failed(client, fault)
                elif (request := clients.get(fd)) is not None:
                    try:
                        on_client(request, mask)
                    except Exception as fault:
                        self._failed(request, fault)
                elif fd in listeners:
                    front.accept(fd, ACCEPTS_PER_EVENT)
                elif fd in special:
                    special[fd]()
            over = now >= self._next_tick and self._tick(now)
            if closing:
                for fd in closing:
                    close(fd)
                closing.clear()
            if over:
                return

    def leave(self) -> None:
        """Stop accepting; :meth:`run` returns once the requests in flight have ended."""
        self._draining = self.context.draining = self.context.replica.leaving = True
        self._next_tick = 0.0

    def drain(self) -> None:
        """Stop accepting; :meth:`run` returns once the requests in flight have ended, or ``drain_timeout`` is over."""
        self._ends = min(self._ends, time.monotonic() + self._drain_timeout)
        self.leave()

    def reopen_log(self) -> None:
        """The access log's file was renamed: begin a new one.  Done at the end of this turn."""
        self._reopen = True
        self._next_tick = self._next_report = 0.0

    def _on_wake(self) -> None:
        """A queue is to be looked at, or a request begins that came behind another: at the end of this turn."""
        self._next_tick = 0.0

    def _failed(self, request: Request, fault: Exception) -> None:
        """A ``fault`` of ours costs the request that met it, and no other."""
        self.context.fault(fault)
        try:
            request.fail()
        except Exception:
            log.exception("closing the failed request failed, too")
            request.drop()

    # Clients of HTTP fronts that have no request under way.

    def _client_event(self, client: HttpClient, event: Callable[[RelayContext, Requests, HttpClient], None]) -> None:
        try:
            event(self.context, self.requests, client)
        except Exception as fault:
            self._client_failed(client, fault)

    def _client_failed(self, client: HttpClient, fault: Exception) -> None:
        """A ``fault`` of ours costs this client's connection, and no other."""
        fd = client.connection.fd
        if fd in self.requests.by_client:
            self._failed(self.requests.by_client[fd], fault)
            return
        self.context.fault(fault)
        if fd in self.requests.kept:
            drop_client(self.context, self.requests, client)

    def _close_idle(self, events: list[tuple[int, int]]) -> None:
        """Close the idle connections that ``events`` tell of, before a request of this turn takes one of them."""
        context = self.context
        for fd, _ in events:
            if fd in context.idle.waiting:
                context.idle.closed(fd, context.now)
                context.closing.append(fd)

    def _begin_ready(self) -> None:
        """Begin the requests that came right behind others; one of each client, so that all get their turn."""
        ready = [*self.requests.ready]
        self.requests.ready.clear()
        for client in ready:
            self._client_event(client, next_request)

    # Control.

    def _apply(self, ops: list[Any]) -> None:
        context = self.context
        if any(op and op[0] == "reset" for op in ops):
            context.reports.everything(context.replica)
            self._held.forget()
            self._reports.begin_anew()
            context.errors_changed = True
        stopped = context.reports.stop(context.replica, ops)
        for problem in context.replica.apply(ops, context.now):
            context.warn("op", "ignored an invalid op from control: %s", problem)
        if stopped:
            self._reports.send_counters(0)

    def _on_channel(self) -> None:
        problem = self._channel.receive()
        if problem:
            self.context.warn("channel", "%s", problem)
        if not self._channel.open:
            self.context.epoll.unregister(self._channel.fd)

    def _on_lifeline(self) -> None:
        if self.context.access_log is not None:
            self.context.access_log.flush(self.context.now)
        os._exit(1)

    def _on_signals(self, fd: int) -> None:
        numbers = os.read(fd, 4096)
        if signal.SIGTERM in numbers:
            self.drain()
        if signal.SIGHUP in numbers:
            self.leave()
        if signal.SIGUSR1 in numbers:
            self.reopen_log()

    # Time.

    def _wait(self) -> float:
        """How long epoll may sleep: to the next tick while anything is watched, for ever otherwise."""
        context = self.context
        if (
            self.requests.by_client or context.idle.waiting or context.reports.nodes or context.reports.pools
            or context.errors_changed or (context.access_log is not None and context.access_log.waiting)
            or self._draining or self._channel.waiting or self._slow_connects or self._front.paused_until > context.now
        ):  # fmt: skip
            return max(0.0, self._next_tick - context.now)
        if not self.requests.kept:
            return -1.0
        return 0.0 if self.requests.ready else KEPT_INTERVAL

    def _tick(self, now: float) -> bool:
        """Whatever is done once in a while.  Returns True when all is drained, the end."""
        context = self.context
        self._next_tick = now + TICK_INTERVAL
        watched, self._watched = self._watched, now - TICK_INTERVAL
        for request in self.requests.accepted_between(watched, self._watched):
            try:
                watch(request)
                self._slow_connects.add(request)
            except Exception as fault:
                self._failed(request, fault)
        if self._slow_connects:
            self._slow_connects.tick(now)
        if context.erring:
            judge_erring(context)
        if self.requests.ready:
            self._begin_ready()
        if serve_queues(context, self._failed):
            self._next_tick = 0.0
        if now >= self._next_scan:
            self._next_scan = now + self._scan_every
            for request in [*self.requests.by_client.values()]:
                try:
                    check(request, now)
                    self._slow_connects.add(request)
                except Exception as fault:
                    self._failed(request, fault)
            self._at_gone_nodes = watch_gone_nodes(self.requests.by_upstream.values(), self._at_gone_nodes, now)
            for client in [*self.requests.kept.values()]:
                self._client_event(client, check_client)
            context.closing += context.idle.expire(now)
            context.fallback.expire(now)
            for pool in context.replica.ramped:
                pool.step_ramps(now)
        if self._draining:
            self._close()
            self._reports.give_back(self._held)
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            self._report()
        return self._draining and self._drained(now)

    def _close(self) -> None:
        """Accept nothing more, once."""
        if self._closed:
            return
        self._closed = True
        self._front.close(self.context.replica.serves)
        self.context.closing += self.context.idle.close_all()
        self._slow_connects.close()
        log.info("draining: %d requests in flight", len(self.requests.by_upstream))

    def _report(self) -> None:
        context = self.context
        self._channel.flush()
        if context.access_log is not None:
            if self._reopen:
                self._reopen = False
                context.access_log.reopen(context.now)
            else:
                context.access_log.flush(context.now)
        self._reports.report()

    def _drained(self, now: float) -> bool:
        """True when nothing is left to be done; what has no time left is ended."""
        requests = self.requests
        for request in [*requests.by_client.values()]:
            if request.has_not_begun and request.accepted + DRAIN_SILENCE <= now:
                request.close()
        for client in [*requests.kept.values()]:
            if client.partial is None and not client.ahead and client.since + DRAIN_SILENCE <= now:
                # What arrived in this moment is still served.
                self._client_event(client, read_request)
                if client.connection.fd in requests.kept:
                    drop_client(self.context, requests, client)
        if (requests.by_client or requests.kept) and now < self._ends:
            return False
        if requests.by_upstream:
            log.warning("drain time-out: %d requests cut off", len(requests.by_upstream))
            for request in [*requests.by_upstream.values()]:
                request.cut_off("cut-off")
        waiting = [request for request in requests.by_client.values() if request.transfer.state == WAITING]
        if waiting:
            log.warning("drain time-out: %d requests that waited for a worker are answered 503", len(waiting))
            for request in waiting:
                give_up(request)
            self._ends = now + LAST_ANSWERS
            return not requests.by_client
        self._reports.begin_anew()
        self.context.reports.whole = True
        self._report()
        return True
