"""The nodes that one request is sent to, one after the other: which is next, and what each of them came to.

* A connect that failed ejects the node, and another one is tried, up to ``max_retries`` others.
* A worker that closed without a byte: once more, elsewhere, if nothing can have changed.
* Anything else that a worker may have begun is never sent twice.

The request that has the client decides what follows of it (request.py).
"""

from __future__ import annotations

from typing import Final

from fastroute.router.compat.passed_routers import passed_routers, with_router
from fastroute.router.protocol.wire import HEADER_SIZE, with_modifiers
from fastroute.router.relay.connection import READ, UNREGISTERED
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.codec import codec_for
from fastroute.router.relay.http.head import BadRequest
from fastroute.router.relay.idle_connections import connection_closed_early, reuse_answered
from fastroute.router.relay.level import TRIAL
from fastroute.router.relay.node import NO_KEEPALIVE, Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.rawsocket import no_delay
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.states import CONNECTING, RELAYING
from fastroute.router.relay.transfer import UNKNOWN_LENGTH, Transfer
from fastroute.router.relay.upstream import OutOfSockets, UpstreamConnection, connect, connect_by_idle
from fastroute.router.relay.vars import repeatable, variable

#: Bytes of vars that uWSGI workers take unless they are told otherwise (their --buffer-size).
UWSGI_BUFFER: Final = 4096


class Attempts:
    """Connects ``transfer``, which moves the bytes of a request, to one node after the other."""

    __slots__ = ("answer_time", "connect_time", "context", "end", "excluded", "failed", "key", "node", "packet", "pool",
                 "retried", "sent_at", "transfer", "tried")  # fmt: skip

    def __init__(self, context: RelayContext, transfer: Transfer) -> None:
        self.context = context
        self.transfer = transfer
        #: The request as the next node gets it, but for the modifiers; ``packet[4:end]`` are its vars.
        self.packet = b""
        self.end = 0
        #: What the request is routed by.
        self.key = b""
        self.pool: Pool | None = None
        #: The one tried last.
        self.node: Node | None = None
        #: Connects that failed.
        self.failed = 0
        #: Where this request failed, in order; None while it is on its first try.
        self.tried: list[Node] | None = None
        #: The one of them that closed without a byte: it is never asked again.
        self.excluded: Node | None = None
        #: It is sent a second time, because a worker closed without a byte.
        self.retried = False
        #: Monotonic time at which the node took the first bytes.
        self.sent_at = 0.0
        #: Seconds until then, and from then to the first byte of the answer; negative when it did not come to that.
        self.connect_time = self.answer_time = -1.0

    @property
    def name(self) -> str:
        """The key, as text."""
        return self.key.decode("latin-1")

    def find_pool(self) -> Refusal | None:
        """Find the pool of ``key``, or how to answer where there is none."""
        context = self.context
        pool = context.replica.find(self.key, self.packet, self.end)
        if pool is None:
            pool = context.fallback.find(self.key, None, context.now)
            if pool is None:
                return Refusal("no-key", f"no worker has announced {self.name}")
        self._count_hit(pool)
        return None

    def connect_next(self) -> Refusal | None:
        """Connect to one node after the other, until one takes the request or is being waited for.

        Then the transfer has its upstream side.  Returns how to answer where no node is left.
        """
        while True:
            choice = self._choose()
            if isinstance(choice, Refusal):
                return choice
            self.node = choice
            try:
                self._connect(choice)
                return None
            # A name of its own for each: mypyc gives a variable one type, and would refuse the others' errors.
            except BadRequest as bad:
                choice.pool.undecided(choice, self.context.now)
                self.transfer.body_left = UNKNOWN_LENGTH
                return Refusal("bad-request", str(bad))
            except OutOfSockets as shortage:
                choice.pool.undecided(choice, self.context.now)
                self.context.exhausted = str(shortage)
                return Refusal("no-node", "this router is out of descriptors")
            except OSError as error:
                self.unreachable(choice, error.strerror or str(error))

    def connected(self, upstream: UpstreamConnection, sent: int) -> None:
        """The node took the first ``sent`` bytes of the request: from here on nothing may be sent twice unasked."""
        context, transfer, node = self.context, self.transfer, upstream.node
        now = context.now
        node.requests += 1
        node.rx += sent
        transfer.rx = sent
        if context.timed and self.pool is not None:
            self.connect_time = now - transfer.last_activity
            self.pool.timed().connected(self.connect_time)
        context.reports.nodes[node] = None
        if node.state == TRIAL:
            node.pool.recovered(node)
            context.node_recovered(node)
        transfer.state = RELAYING
        transfer.last_activity = self.sent_at = now
        if not upstream.pending:
            if transfer.buffered is not None or transfer.client.eof:
                transfer.continue_upload(upstream)
            if transfer.body_left <= 0 and not transfer.watched and upstream.mask == UNREGISTERED:
                # The common request: nothing else to arm.
                upstream.arm(context.epoll, READ)
                return
        if node.internet:
            no_delay(upstream.fd)
        transfer.arm()

    def unreachable(self, node: Node, reason: str) -> None:
        """Connecting to ``node`` failed: eject it."""
        context = self.context
        self.failed += 1
        self.tried = [*(self.tried or ()), node]
        seconds = node.pool.failed(node, context.now)
        context.reports.nodes[node] = None
        if seconds:
            context.node_failed(node, reason, seconds)

    def release(self) -> None:
        """Close the upstream side, or keep it for another request, and count this one out of its node."""
        context, transfer = self.context, self.transfer
        upstream = transfer.upstream
        if upstream is None:
            return
        node = upstream.node
        if transfer.state == CONNECTING:
            node.pool.undecided(node, context.now)
        if upstream.codec is not None and transfer.reusable and context.idle.put(node, upstream.fd, context.now):
            upstream.arm(context.epoll, READ)
        else:
            context.closing.append(upstream.fd)
        transfer.upstream = None
        node.pool.finish(node)
        context.reports.nodes[node] = None

    def answer_begun(self) -> None:
        """The worker sent its first byte."""
        context, upstream = self.context, self.transfer.upstream
        if upstream is not None and upstream.reused and upstream.node.protocol == "uwsgi":
            reuse_answered(upstream.node)
        if context.timed and self.pool is not None:
            self.answer_time = context.now - self.sent_at
            self.pool.timed().answered(self.answer_time)
            context.reports.pools[self.pool] = None

    def no_answer(self, reason: str) -> Refusal | None:
        """The worker closed without a byte.  Returns how to answer, or None: the request is to be sent once more."""
        context, upstream = self.context, self.transfer.upstream
        assert upstream is not None
        node = upstream.node
        repeat = not self.retried and not self.transfer.has_body and repeatable(self.packet, self.end)
        self.connect_time = -1.0
        if upstream.reused:
            # It closed a connection that it had kept, so probably did with the others.
            context.closing += context.idle.drop(node)
            connection_closed_early(node, context.now)
        if upstream.reused and repeat:
            # The worker may be up: the next try, which is not the first one, may go to it as well.
            self.tried = self.tried or []
        else:
            self.count_failure("no answer", reason + self._hint(node))
            self.tried = [*(self.tried or ()), node]
            self.excluded = node
        self.retried = self.retried or repeat
        return None if repeat else Refusal("bad-gateway", f"the worker of {self.name} {reason}")

    def count_failure(self, subject: str, text: str) -> None:
        """Count a failure of the node, and log it once in a while."""
        node = self.node
        if node is not None:
            node.failures += 1
            self.context.warn((node, subject), "%s => %s %s", self.name, node.address, text)

    def _hint(self, node: Node) -> str:
        size = self.end - HEADER_SIZE
        if size <= UWSGI_BUFFER or node.protocol != "uwsgi":
            return ""
        return f" (vars of {size} bytes: a uWSGI worker takes {UWSGI_BUFFER} unless its buffer-size says more)"

    # The next node.

    def _count_hit(self, pool: Pool) -> None:
        self.pool = pool
        pool.hits += 1
        self.context.reports.pools[pool] = None

    def _choose(self) -> Node | Refusal:
        context, pool = self.context, self.pool
        assert pool is not None
        if self.failed > context.max_retries:
            return self._none_reached()
        if self.tried is not None:
            node = self._choose_other(self.tried)
        else:
            client = variable(self.packet, self.end, b"REMOTE_ADDR") if pool.algorithm == "iphash" else b""
            node = pool.choose(context.now, client)
            while node is None and (other := context.fallback.find(self.key, pool, context.now)) is not None:
                pool = other
                self._count_hit(pool)
                node = pool.choose(context.now, client)
        if node is not None:
            return self._avoid_passed_routers(node) if node.routers else node
        if self.retried:
            text = f"the worker of {self.name} broke off without an answer, and no other is left to try"
            return Refusal("bad-gateway", text)
        return self._none_reached() if self.failed else Refusal("no-node", f"no worker of {self.name} is up")

    def _choose_other(self, tried: list[Node]) -> Node | None:
        """The next node for a request that has failed at ``tried``.

        First those known to be good, of the key's own pool on all levels, then of those it falls back to; then the
        ejected ones, whose trial is nobody's first try now; and only then once more those that could not be connected
        to: what is good again, or due, since this request waited elsewhere.
        """
        pools = self._pools()
        client = variable(self.packet, self.end, b"REMOTE_ADDR")
        for left_out in (tried, [] if self.excluded is None else [self.excluded]):
            for pool in pools:
                node = pool.choose_good(left_out, client)
                if node is not None and node.routers and node.behind(passed := self._passed_routers()):
                    node = pool.choose_past(passed, left_out)
                if node is not None:
                    return self._counted_at(pool, node, pool is pools[0])
            for pool in pools:
                node = pool.choose_trial(left_out, self.context.now)
                if node is not None:
                    return self._counted_at(pool, node, pool is pools[0])
        return None

    def _pools(self) -> list[Pool]:
        """The pools that may serve this request now, in their order."""
        context = self.context
        pool = context.replica.find(self.key, self.packet, self.end)
        pools = [] if pool is None else [pool]
        while (pool := context.fallback.find(self.key, pool, context.now)) is not None:
            pools.append(pool)
        return pools

    def _counted_at(self, pool: Pool, node: Node, first: bool) -> Node:
        """``node``, of ``pool``, where the request counts from now on; at the ``first`` pool it has been counted."""
        if pool is not self.pool:
            self.pool = pool
            if not first and all(other.pool is not pool for other in self.tried or ()):
                pool.hits += 1
            self.context.reports.pools[pool] = None
        return node

    def _none_reached(self) -> Refusal:
        return Refusal("bad-gateway", f"no worker of {self.name} could be reached ({self.failed} tried)")

    def _avoid_passed_routers(self, node: Node) -> Node | Refusal:
        """``node``, which is a router, or another one if the request came from there; our id goes into the request."""
        context = self.context
        passed = self._passed_routers()
        if node.behind(passed):
            node.pool.undecided(node, context.now)
            other = node.pool.choose_past(passed, self.tried or ())
            if other is None:
                text = f"every worker of {self.name} is behind a router that this request came from"
                return Refusal("bad-gateway", text)
            node = other
        if node.routers:
            self.packet, self.end = with_router(self.packet, self.end, passed, context.replica.router)
        return node

    def _passed_routers(self) -> list[bytes]:
        return passed_routers(self.packet, self.end)

    # One attempt.

    def _connect(self, node: Node) -> None:
        """Send the request to ``node``, by a connection that it kept or a new one."""
        context, transfer = self.context, self.transfer
        if node.keepalive == NO_KEEPALIVE:
            upstream = connect(context, node, with_modifiers(self.packet, node.modifier1, node.modifier2), None)
        else:
            upstream = self._connect_read(node)
        transfer.upstream = upstream
        transfer.last_activity = context.now
        node.in_flight += 1
        if node.pool.counts:
            node.pool.changed(node)
        sent = upstream.sent
        if sent or upstream.reused:
            self.connected(upstream, sent)
        else:
            transfer.state = CONNECTING
            transfer.arm()

    def _connect_read(self, node: Node) -> UpstreamConnection:
        """As :meth:`_connect`, to a node whose answers are read, not only passed through."""
        context, transfer = self.context, self.transfer
        codec = codec_for(node, self.packet, self.end, self.key, transfer.buffered is not None)
        if codec is None:
            return connect(context, node, with_modifiers(self.packet, node.modifier1, node.modifier2), None)
        transfer.body_left = codec.body_left
        transfer.has_body = transfer.has_body or codec.has_body
        upstream = None if self.retried else connect_by_idle(context, node, codec)
        return upstream if upstream is not None else connect(context, node, codec.request, codec)
