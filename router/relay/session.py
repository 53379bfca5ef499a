"""One request: its packet, its key, the node it goes to, another when that fails, our own answer when none is left.

The rules of INTERFACE.md, each in one place here:

* a connect that failed: another node, up to ``max_retries`` others (:meth:`Session.try_next`); which one, and that
  ejected ones are tried by requests that have not failed yet: :meth:`Session._choose_other`;
* a worker that closed without a byte: once more, elsewhere, if nothing can change (attempt.py);
* anything else that a worker may have begun is never sent twice;
* who gets which of our own answers (:meth:`Session.refuse`, texts where it is called).
"""

from __future__ import annotations

import os
from typing import Final

from fastroute.router.relay.asked import key_and_vars, requested_key
from fastroute.router.relay.attempt import Attempt
from fastroute.router.relay.pool import Node, Pool
from fastroute.router.relay.replies import STATUS, reply
from fastroute.router.relay.request import body_size, variable, whole_block_problem, with_variable
from fastroute.router.relay.request_id import header_of, with_request_id
from fastroute.router.relay.sides import CONNECT, HEAD, LINGER, OVER
from fastroute.router.wire import HEADER_SIZE

#: The var that names the routers which a request has passed (docs/wire.md).
VIA: Final = b"FASTROUTE_VIA"
#: Seconds that a client may take to see our answer and close.
LINGER_TIME: Final = 5.0


class Session(Attempt):
    """A request from its first byte to its last.  Starts with :meth:`on_head` right after accept."""

    __slots__ = ()

    # The packet.

    def on_packet(self, packet: bytes, end: int) -> None:
        """``packet`` has all vars, in ``packet[4:end]``, and perhaps the beginning of the body."""
        relay = self.relay
        relay.requests += 1
        self.packet, self.end = packet, end
        if relay.access_log is None:
            asked = requested_key(packet, end)
        else:
            asked, self.shown = key_and_vars(packet, end)
        if not asked:
            self.body_left = 1
            if asked is None:
                # What is no block of vars is never looked into again.
                self.end = 0
                self.refuse("bad-request", f"not uwsgi: {whole_block_problem(packet, end)}")
            else:
                self.refuse("bad-request", "no host: no UWSGI_FASTROUTER_KEY, HTTP_HOST or SERVER_NAME in the vars")
            return
        # Fooled by a value that holds this text, it only delays that request's own body, until it is watched.
        if len(packet) > end or packet.find(b"CONTENT_LENGTH\0\0", HEADER_SIZE, end) < 0:
            self.body_left = body_size(packet, end) - (len(packet) - end)
            self.bodied = len(packet) > end or self.body_left > 0
        self.asked = asked
        if relay.request_id is not None:
            packet, end, made = with_request_id(packet, end, relay.request_id)
            self.packet, self.end = packet, end
            if made:
                self.shown = (*self.shown[:-1], made)
        pool = relay.replica.find(asked, packet, end)
        if pool is None:
            pool = relay.reserve.find(asked, None, relay.now)
            if pool is None:
                self.refuse("no-key", f"no worker has announced {self.name}")
                return
        pool.hits += 1
        relay.hit[pool] = None
        self.pool = pool
        if self.body_left > 0 and relay.post_buffering:
            self.read_body()
        else:
            self.try_next()

    def on_body(self) -> None:
        """The body, read before a worker is asked, is whole."""
        self.try_next()

    # The node.

    def try_next(self) -> None:
        """Connect to one node after the other until one takes the request, or is being waited for."""
        while True:
            node = self._choose()
            if node is None or self.connect(node):
                return

    def _choose(self) -> Node | None:
        """The next node to try; ``None`` when the request has been answered instead."""
        relay, pool = self.relay, self.pool
        assert pool is not None
        if self.attempts > relay.max_retries:
            self.refuse("bad-gateway", f"no worker of {self.name} could be reached ({self.attempts} tried)")
            return None
        if self.tried is not None:
            node = self._choose_other(self.tried)
        else:
            client = variable(self.packet, self.end, b"REMOTE_ADDR") if pool.algorithm == "iphash" else b""
            node = pool.choose(relay.now, client)
            while node is None and (other := relay.reserve.find(self.asked, pool, relay.now)) is not None:
                self.pool = pool = other
                pool.hits += 1
                relay.hit[pool] = None
                node = pool.choose(relay.now, client)
        if node is None:
            if self.again:
                what = f"the worker of {self.name} broke off without an answer, and no other is left to try"
                self.refuse("bad-gateway", what)
            elif self.attempts:
                self.refuse("bad-gateway", f"no worker of {self.name} could be reached ({self.attempts} tried)")
            else:
                self.refuse("no-node", f"no worker of {self.name} is up")
            return None
        if node.routers:
            node = self._next_router(node)
            if node is None:
                return None
        return node

    def _choose_other(self, tried: list[Node]) -> Node | None:
        """The next node for a request that has failed at ``tried``.

        First those known to be good, of the key's own pool on all levels, then of those it falls back to; then the
        ejected ones, whose trial is nobody's first try now; and only then once more those that could not be connected
        to: what is good again, or due, since this request waited elsewhere.
        """
        pools = self._pools()
        client = variable(self.packet, self.end, b"REMOTE_ADDR")
        for left_out in (tried, [] if self.avoid is None else [self.avoid]):
            for pool in pools:
                node = pool.choose_good(left_out, client)
                if node is not None and node.routers and node.behind(passed := self._passed()):
                    node = pool.choose_past(passed, left_out)
                if node is not None:
                    return self._of(pool, node, pool is pools[0])
            for pool in pools:
                node = pool.choose_trial(left_out, self.relay.now)
                if node is not None:
                    return self._of(pool, node, pool is pools[0])
        return None

    def _pools(self) -> list[Pool]:
        """The pools that may serve this request now, in their order."""
        relay = self.relay
        pool = relay.replica.find(self.asked, self.packet, self.end)
        pools = [] if pool is None else [pool]
        while (pool := relay.reserve.find(self.asked, pool, relay.now)) is not None:
            pools.append(pool)
        return pools

    def _of(self, pool: Pool, node: Node, first: bool) -> Node:
        """``node``, of ``pool``, where the request counts from now on; it was counted at the ``first`` one."""
        if pool is not self.pool:
            self.pool = pool
            if not first and all(other.pool is not pool for other in self.tried or ()):
                pool.hits += 1
            self.relay.hit[pool] = None
        return node

    def _next_router(self, node: Node) -> Node | None:
        """``node`` is a router: our id goes into the request, or to another node if it came from there."""
        routers = self._passed()
        if node.behind(routers):
            node.pool.undecided(node, self.relay.now)
            other = node.pool.choose_past(routers, self.tried or ())
            if other is None:
                self.refuse(
                    "bad-gateway", f"every worker of {self.name} is behind a router that this request came from"
                )
                return None
            node = other
        own = self.relay.replica.router
        if node.routers and own not in routers:
            value = b",".join([*routers, own])
            self.packet, self.end = with_variable(self.packet, self.end, VIA, value)
        return node

    def _passed(self) -> list[bytes]:
        """The routers that this request has passed."""
        passed = variable(self.packet, self.end, VIA)
        return passed.split(b",") if passed else []

    def refuse(self, kind: str, text: str) -> None:
        """Answer ``kind`` ourselves and end the connection."""
        relay = self.relay
        relay.errors[kind] = relay.errors.get(kind, 0) + 1
        relay.errors_changed = True
        self.release_worker()
        self.fault, self.status = kind, STATUS[kind][:3].encode()
        answer = reply(kind, text, header_of(self.packet, self.end))
        self.tx = len(answer)
        try:
            sent = os.write(self.cfd, answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(answer):
            self.down, self.down_at = answer, sent
        self.seen = relay.now
        self.end_client()

    def fail(self) -> None:
        """A fault of this router met the request: end it so that its client learns of it."""
        # Not looked into again: that may have been the fault.
        self.packet, self.end = b"", 0
        if self.started:
            self.fault = "fault"
            self.abort()
        elif self.state != LINGER:
            self.body_left = 1
            self.refuse("bad-gateway", "a fault of this router, which its log describes")
        else:
            self.close()

    # Time.

    def check(self, now: float) -> None:
        """End what has been silent for too long."""
        relay = self.relay
        silent = now - self.seen
        if self.state == OVER:
            return
        if self.state == HEAD:
            # All of it has this time: a byte now and then keeps no connection.
            if now - self.began >= relay.client_timeout:
                if self.partial is None:
                    self.close()
                else:
                    self.refuse_packet("bad-request", f"the packet stalled after {len(self.partial)} bytes")
        elif self.state == LINGER:
            if silent >= LINGER_TIME:
                self.close()
        elif self.state == CONNECT:
            if silent >= relay.connect_timeout and self.node is not None:
                self.connect_failed(self.node, f"no connection within {relay.connect_timeout:g} s")
                self.try_next()
        elif self.started:
            if silent >= (relay.timeout if self.client_eof else relay.idle_timeout):
                self.fault = "silent"
                self.close()
        elif self.body_left > 0 and not self.up and not self.client_eof:
            if silent >= relay.client_timeout:
                self.refuse("bad-request", f"the request's body stalled {self.body_left} bytes before its end")
        elif silent >= relay.timeout and self.node is not None:
            self.node.failures += 1
            relay.warn((self.node, "timeout"), "%s => %s did not answer within %g s", self.name, self.node.address,
                       relay.timeout)  # fmt: skip
            self.refuse("timeout", f"the worker of {self.name} did not answer within {relay.timeout:g} s")
