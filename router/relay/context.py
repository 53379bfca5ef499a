"""What all requests of one relay share: settings, this turn's time, pools, counters, and the way to report failures."""

from __future__ import annotations

import logging
import random
import select
from collections.abc import Callable
from typing import Any, Final

from fastroute.router.compat.dotsplit import dotsplit_hosts
from fastroute.router.compat.mapper import mapper_of
from fastroute.router.protocol.wire import HEADER_SIZE, MAX_BLOCK
from fastroute.router.relay.access_log import AccessLog
from fastroute.router.relay.error_pages import NO_PAGES, ErrorPages
from fastroute.router.relay.fallback import FallbackPools
from fastroute.router.relay.idle_connections import IdleConnections
from fastroute.router.relay.node import Node
from fastroute.router.relay.replica import MAX_SEGMENTS, Replica
from fastroute.router.relay.report_queue import ReportQueue
from fastroute.router.relay.span_sampler import SpanSampler
from fastroute.router.relay.trusted_networks import TrustedNetworks
from fastroute.router.runtime.logs import RateLimit, get_logger

#: One of how many descriptors may be an idle connection to a worker.
IDLE_SHARE: Final = 8

log = get_logger("fastroute.relay")


class RelayContext:
    """The state of one relay process that is no request's own.

    * ``settings`` are the options of ``fastroute-router`` with underscores.
    * ``relay_name`` tells several relays apart in the log.
    * ``owns`` says whether an address is a socket of this router.
    * ``pages`` are the operator's, for the relay's own answers.
    """

    def __init__(self, settings: dict[str, Any], max_descriptors: int, relay_name: str,
                 owns: Callable[[str], bool] | None, now: float, pages: ErrorPages = NO_PAGES,
                 index: int = 0) -> None:  # fmt: skip
        self.relay_name = relay_name
        self.connect_timeout = float(settings.get("connect_timeout", 3.0))
        self.timeout = float(settings.get("timeout", 60.0))
        self.client_timeout = float(settings.get("client_timeout", 60.0))
        self.idle_timeout = float(settings.get("idle_timeout", 3600.0))
        #: How long an HTTP client's connection is kept without a request.
        self.idle_timeout_http = float(settings.get("idle_timeout_http", 75.0))
        self.max_retries = int(settings.get("max_retries", 3))
        #: Seconds that a request waits for a node of a pool that control says nothing of (fallback, mapped keys).
        self.wait = float(settings.get("wait", 0.0))
        #: Requests that may wait in one pool, and in all of them: half of the descriptors, so that a flood of one key
        #: leaves room for others.
        self.wait_max = int(settings.get("wait_max", 1000))
        self.wait_max_all = max_descriptors // 2
        self.max_packet = HEADER_SIZE + min(int(settings.get("buffer_size", MAX_BLOCK)), MAX_BLOCK)
        self.post_buffering = int(settings.get("post_buffering", 0))
        #: Connect and answer times are measured: somebody may ask for metrics, or there is an access log.
        traces = settings.get("otlp") is not None
        self.timed = settings.get("admin", "") is not None or settings.get("access_log") is not None or traces

        #: Monotonic time of this turn of the loop; nothing else asks the clock.
        self.now = now
        self.epoll = select.epoll()
        #: Descriptors to close once the events at hand are over, so that no number is given out again before.
        self.closing: list[int] = []
        #: Whom HTTP fronts believe for whom they ask.
        self.trusted = TrustedNetworks(settings.get("http_trusted") or ())
        #: Proxies that X-Forwarded-For may name behind the client; None: its last address counts.
        proxies = settings.get("http_proxies")
        self.proxies = TrustedNetworks(proxies) if proxies else None
        self.merges_slashes = not settings.get("http_keep_slashes")
        #: The end has begun: no connection of a client is kept for another request.
        self.draining = False
        #: Why no more connections can be made now, for people; empty: they can.
        self.exhausted = ""

        chance = random.Random()
        #: Where ids for requests come from; None: they get none.
        self.request_id = chance if settings.get("request_id") else None
        self.replica = Replica(chance, dotsplit_hosts if settings.get("dotsplit") else None,
                               int(settings.get("mountpoints", 0)) or MAX_SEGMENTS,
                               (index, int(settings.get("processes", 1))), settings.get("zone") or "")  # fmt: skip
        mapper = mapper_of(settings.get("base"), settings.get("pattern"), chance, self._is_own)
        self.fallback = FallbackPools(settings, self.replica.static_pools, mapper)
        self.idle = IdleConnections(max_descriptors // IDLE_SHARE)
        self.access_log: AccessLog | None = None
        if settings.get("access_log") is not None:
            self.access_log = AccessLog(settings["access_log"], settings.get("log_format"), self.say, self.now)
        #: What becomes a span, where there is a collector.
        self.spans: SpanSampler | None = None
        if traces:
            self.spans = SpanSampler(float(settings.get("trace_sample", 0.0)), chance)
        #: Somebody wants to know of requests that have ended.
        self.logged = self.access_log is not None or self.spans is not None

        #: Requests so far, and those that this relay answered itself, by kind.
        self.total = 0
        self.errors: dict[str, int] = {}
        self.errors_changed = False
        self.reports = ReportQueue()
        #: Nodes that have answered with errors since they were judged last (ejecting.py).
        self.erring: dict[Node, None] = {}
        #: How control is told at once; the loop sets it.
        self.notify: Callable[[list[Any]], None] = _ignore
        self.pages = pages
        self._owns = owns
        self._limiter = RateLimit()

    def count_error(self, kind: str, count: int = 1) -> None:
        """This relay answered ``count`` requests itself, or ended them, for the reason ``kind``."""
        self.errors[kind] = self.errors.get(kind, 0) + count
        self.errors_changed = True

    def node_failed(self, node: Node, reason: str, seconds: float) -> None:
        """``node`` was ejected.  Logged when it begins, not at every failed trial."""
        level = logging.WARNING if node.streak == 1 else logging.DEBUG
        log.log(level, "%s => %s ejected for %.2f s: %s%s", node.key, node.address, seconds, reason, self.relay_name,
                extra={"key": node.key, "node": node.address})  # fmt: skip
        self.notify(["failed", node.pool.name, node.address, reason, round(seconds, 3)])

    def node_ejected(self, node: Node, reason: str, seconds: float, again: bool = False) -> None:
        """``node`` was ejected for its answers; ``again``: after a trial."""
        level = logging.DEBUG if again else logging.WARNING
        log.log(level, "%s => %s ejected for %.2f s: %s%s", node.key, node.address, seconds, reason, self.relay_name,
                extra={"key": node.key, "node": node.address})  # fmt: skip
        self.notify(["ejected", node.pool.name, node.address, reason, round(seconds, 3)])

    def node_recovered(self, node: Node, *why: str) -> None:
        """``node`` takes requests again; ``why``, where it is not that it accepts connections."""
        log.info("%s => %s is back%s", node.key, node.address, self.relay_name,
                 extra={"key": node.key, "node": node.address})  # fmt: skip
        self.notify(["recovered", node.pool.name, node.address, *why])

    def warn(self, subject: Any, text: str, *arguments: object) -> None:
        """Log a warning, once in a while for each ``subject``."""
        held = self._limiter.allow(subject, self.now)
        if held is not None:
            log.warning(text + (f" ({held} more since the last such line)" if held else ""), *arguments)

    def fault(self, error: Exception) -> None:
        """Log a fault of our own, once in a while for each kind."""
        held = self._limiter.allow(("fault", type(error)), self.now)
        if held is not None:
            log.error("a fault of the router cost a request%s; please report it%s", self.relay_name,
                      f" ({held} more since)" if held else "", exc_info=error)  # fmt: skip

    def _is_own(self, address: str) -> bool:
        is_own = self._owns is not None and self._owns(address)
        if is_own:
            self.warn(("own", address), "%s is this router itself: no key maps to it", address)
        return is_own

    def say(self, text: str) -> None:
        """Log a warning of the access log's, with this relay's name."""
        log.warning("%s%s", text, self.relay_name)


def _ignore(message: list[Any]) -> None:
    """Nobody is there to be told yet."""
