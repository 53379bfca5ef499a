"""One request: its data, our own answers to it, and its end.

A request *has* a :class:`Transfer`, which moves the bytes between its two connections and has the table of states.
Which node it is sent to is decided in attempts.py, and what follows of an event in request_events.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastroute.router.relay.access_line import AccessRecord
from fastroute.router.relay.connection import READ, Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.header_names import NO_LINE, TRACEPARENT
from fastroute.router.relay.http.request_vars import packet_of_request
from fastroute.router.relay.http_client import HttpClient
from fastroute.router.relay.node import Node
from fastroute.router.relay.own_answer import own_answer
from fastroute.router.relay.partial_packet import PartialPacket
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.rawsocket import reset_at_close
from fastroute.router.relay.replies import STATUS, Refusal
from fastroute.router.relay.retries import Retries
from fastroute.router.relay.states import CLOSED, CONNECTING, HEAD, LINGERING, OVER
from fastroute.router.relay.transfer import UNKNOWN_LENGTH, Transfer
from fastroute.router.relay.vars import NO_LOG_VARS, variable


class Requests:
    """All requests of a relay, by the descriptors of their connections."""

    def __init__(self) -> None:
        #: In the order in which they were accepted.
        self.by_client: dict[int, Request] = {}
        self.by_upstream: dict[int, Request] = {}
        #: Clients of HTTP fronts that have no request under way, by descriptor.
        self.kept: dict[int, HttpClient] = {}
        #: Those of them that have sent the beginning of the next one already.
        self.ready: list[HttpClient] = []
        #: Descriptors of clients that were accepted before their request was there; it may have come since.
        self.early: set[int] = set()
        #: How the loop is told that there are such; it sets it.
        self.on_ready: Callable[[], None] = _ignore

    def accepted_between(self, after: float, until: float) -> list[Request]:
        """Those that were accepted then, the newest first; looks only at what came later than ``after``."""
        accepted = []
        for request in reversed(self.by_client.values()):
            if request.accepted <= after:
                break
            if request.accepted <= until:
                accepted.append(request)
        return accepted


class Request:
    """One request, from the first byte of its client to the last.

    ``client`` is the connection on which it came; it stays, if that is an ``http_client`` who may send another one.
    """

    __slots__ = ("accepted", "answer_time", "connect_time", "context", "fault", "http_client", "key", "known_end",
                 "known_packet", "log_vars", "node", "partial", "pool", "requests", "retries", "sent_at",
                 "transfer")  # fmt: skip

    def __init__(self, context: RelayContext, requests: Requests, client: Connection,
                 http_client: HttpClient | None = None) -> None:  # fmt: skip
        self.context = context
        self.requests = requests
        self.http_client = http_client
        self.transfer = Transfer(context, client)
        #: Monotonic.
        self.accepted = context.now
        #: A packet that is not whole yet.
        self.partial: PartialPacket | None = None
        #: The packet, as far as it is known: one of an HTTP client's request is made when somebody asks for ``packet``.
        self.known_packet = b""
        self.known_end = 0
        #: What the request is routed by.
        self.key = b""
        self.pool: Pool | None = None
        #: The one tried last.
        self.node: Node | None = None
        #: Where it failed; None while it is on its first try.
        self.retries: Retries | None = None
        #: Monotonic time at which the node took the first bytes.
        self.sent_at = 0.0
        #: Seconds until then, and from then to the first byte of the answer; negative when it did not come to that.
        self.connect_time = self.answer_time = -1.0
        #: For the access log: vars, and why the answer is not the worker's, or not whole.
        self.log_vars = NO_LOG_VARS
        self.fault = ""
        requests.by_client[client.fd] = self

    @property
    def packet(self) -> bytes:
        """The packet as the next node gets it, but for the modifiers; ``packet[4:end]`` are its vars."""
        exchange = self.transfer.exchange
        if exchange is not None and exchange.head is not None and not self.known_packet:
            vars_packet = packet_of_request(exchange.head, exchange.peer)
            self.set_packet(vars_packet + exchange.beginning, len(vars_packet))
        return self.known_packet

    @property
    def end(self) -> int:
        """Where the vars end."""
        return self.known_end if self.packet else 0

    def set_packet(self, packet: bytes, end: int) -> None:
        """This is the packet from now on."""
        self.known_packet, self.known_end = packet, end

    def forget_packet(self) -> None:
        """Nobody needs the packet any more."""
        self.set_packet(b"", 0)
        if self.transfer.exchange is not None:
            self.transfer.exchange.head = None

    @property
    def name(self) -> str:
        """The key, as text."""
        return self.key.decode("latin-1")

    @property
    def client_address(self) -> bytes:
        """REMOTE_ADDR."""
        return variable(self.packet, self.end, b"REMOTE_ADDR")

    @property
    def has_not_begun(self) -> bool:
        """True while the client has not sent a byte."""
        return self.transfer.state == HEAD and self.partial is None

    def release(self) -> None:
        """Close the upstream side, or keep it for another request, and count this one out of its node."""
        context, transfer = self.context, self.transfer
        upstream = transfer.upstream
        if upstream is None:
            return
        del self.requests.by_upstream[upstream.fd]
        node = upstream.node
        if transfer.state == CONNECTING:
            node.pool.undecided(node, context.now)
        if upstream.codec is not None and transfer.reusable and context.idle.put(node, upstream.fd, context.now):
            upstream.arm(context.epoll, READ)
        else:
            context.closing.append(upstream.fd)
        transfer.upstream = None
        if transfer.tunnel:
            node.tunnels -= 1
        node.pool.finish(node)
        context.reports.nodes[node] = None

    def leave_queue(self) -> None:
        """It waits no longer, if it did."""
        context, retries = self.context, self.retries
        if retries is None or retries.waiter is None or not retries.waiter.entry:
            return
        pool = retries.home
        assert pool is not None
        pool.leave(retries.waiter, context.now)
        # So that a request that is over is in no circle, and is freed at once.
        retries.waiter.request = None
        context.reports.pools[pool] = None
        if retries.probe is not None:
            retries.probe.close()
            retries.probe = None

    # The end.

    def refuse(self, kind: str, text: str) -> None:
        """Answer ``kind`` ourselves and end the connection."""
        self.answer(Refusal(kind, text))

    def answer(self, refusal: Refusal) -> None:
        """Answer as ``refusal`` says, and end the connection."""
        context, transfer = self.context, self.transfer
        kind = refusal.kind
        context.count_error(kind)
        self._count_own_answer(refusal)
        self.release()
        self.leave_queue()
        if self.retries is not None and self.retries.waiter is not None:
            refusal.waited = self.retries.waiter.waited
        self.fault, transfer.status = kind, STATUS[kind][:3].encode()
        keep = transfer.exchange is not None and transfer.keeps_client
        answer = own_answer(context, refusal, self.key, self.packet, self.end, keep)
        transfer.tx = len(answer)
        transfer.last_activity = context.now
        try:
            transfer.client.write(answer)
        except OSError:
            self.close()
            return
        if transfer.end_client() == OVER:
            if transfer.exchange is None:
                self.close()
            else:
                self.finish(transfer.exchange)

    def _count_own_answer(self, refusal: Refusal) -> None:
        """Count it where people look for it: at the node that should have given it, or at the key."""
        pool, node, reports = self.pool, self.node, self.context.reports
        if refusal.of_node and node is not None:
            if node.count_status(STATUS[refusal.kind].encode()):
                self.context.erring[node] = None
            reports.nodes[node] = None
        elif pool is not None:
            # What a fallback could not take either is the key's own again.
            pool = (self.end and self.context.replica.find(self.key, self.packet, self.end)) or pool
            pool.statuses[int(STATUS[refusal.kind][0]) - 1] += 1
            reports.pools[pool] = None

    def finish(self, exchange: HttpExchange) -> None:
        """Nothing is left to be done for an HTTP client: keep its connection, if it may send another request."""
        transfer = self.transfer
        if transfer.state != LINGERING or transfer.client.pending or transfer.client.eof or transfer.body_left > 0:
            self.close()
            return
        if not exchange.framing.keep:
            if exchange.ahead:
                transfer.throw_away_rest()
            else:
                self.close()
            return
        context, requests, client, http = self.context, self.requests, transfer.client, self.http_client
        assert http is not None
        if context.logged and (self.key or transfer.status):
            self._note_end()
        del requests.by_client[client.fd]
        transfer.state = CLOSED
        self.forget_packet()
        transfer.drop_buffered()
        requests.kept[client.fd] = http
        http.since = context.now
        http.ahead = exchange.ahead
        if http.ahead:
            requests.ready.append(http)
            requests.on_ready()
        else:
            client.arm(context.epoll, READ)

    def abort(self, fault: str, refusal: Refusal | None = None) -> None:
        """End so that the client sees that the answer is not whole (by a reset, where the socket has one).

        Where the answer has not begun, ``refusal`` says how to answer instead.
        """
        if refusal is not None and not self.transfer.started:
            self.answer(refusal)
            return
        self.fault = fault
        reset_at_close(self.transfer.client.fd)
        self.close()

    def fail(self) -> None:
        """End the request so that its client learns that a fault of this router met it."""
        transfer = self.transfer
        # Not looked into again: that may have been the fault.
        self.forget_packet()
        if transfer.state == LINGERING and not transfer.started:
            self.close()
            return
        self.leave_queue()
        transfer.body_left = UNKNOWN_LENGTH
        self.abort("fault", Refusal("bad-gateway", "a fault of this router, which its log describes"))

    def cut_off(self, fault: str) -> None:
        """End the request because no time or no room is left for it; ``fault`` says which."""
        self.fault = fault
        self.leave_queue()
        self.close()

    def close(self) -> None:
        """End both connections now.  Their descriptors are closed after the events at hand."""
        context, transfer = self.context, self.transfer
        if transfer.state == CLOSED:
            return
        if context.logged and (self.key or transfer.status):
            self._note_end()
        client = transfer.client
        del self.requests.by_client[client.fd]
        context.closing.append(client.fd)
        if transfer.upstream is not None:
            self.release()
        transfer.state = CLOSED
        client.pending = self.known_packet = b""
        transfer.drop_buffered()

    def drop(self) -> None:
        """Take the request out of all tables.  For when closing it in order has failed: nothing here can."""
        transfer, requests = self.transfer, self.requests
        fds = [transfer.client.fd]
        requests.by_client.pop(transfer.client.fd, None)
        if transfer.upstream is not None:
            fds.append(transfer.upstream.fd)
            requests.by_upstream.pop(transfer.upstream.fd, None)
        self.leave_queue()
        self.context.closing += [fd for fd in fds if fd not in self.context.closing]
        transfer.state = CLOSED
        transfer.upstream = None

    def _note_end(self) -> None:
        """Tell the access log, and whoever makes spans, of this request, which is about to close."""
        context, record = self.context, self._record()
        if context.access_log is not None:
            context.access_log.add(record, context.now)
        if context.spans is not None and self.key:
            context.spans.add(record, self._traceparent(), time.time() - context.now)

    def _traceparent(self) -> bytes:
        exchange = self.transfer.exchange
        if exchange is not None and exchange.head is not None:
            return exchange.head.headers.get(TRACEPARENT, NO_LINE).value
        return variable(self.known_packet, self.known_end, b"HTTP_TRACEPARENT")

    def _record(self) -> AccessRecord:
        """What the access log gets of this request, which is about to close."""
        transfer, retries = self.transfer, self.retries
        repeats = 0 if retries is None else retries.failed + retries.retried
        waiter = None if retries is None else retries.waiter
        if transfer.state == LINGERING:
            ended, whole = transfer.last_activity, not transfer.client.pending
        else:
            ended, whole = self.context.now, transfer.upstream_eof and transfer.client.eof
        return AccessRecord(
            self.log_vars, self.key, "" if self.node is None else self.node.address, transfer.status,
            self.fault or ("" if whole else "client-gone"), transfer.tx, transfer.rx,
            repeats + (self.connect_time >= 0), self.connect_time, self.answer_time, ended, ended - self.accepted,
            self.sent_at, -1.0 if waiter is None else waiter.waited,
        )  # fmt: skip


def _ignore() -> None:
    """Nobody is there to be told yet."""
