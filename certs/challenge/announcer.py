"""Announces ``HOST/.well-known/acme-challenge`` to the routers, with us as the node, while an order needs it.

One edge.  A thread of its own drives the parts of ``announce``; orders wait for what it tells them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastroute.certs.decide.hosts import CHALLENGE_PATH
from fastroute.router.protocol.address import Address
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.subscription import Entry
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.router_peer import Credentials

#: Seconds for all routers to ack; those that did not by then are away.
ACK_TIMEOUT = 4.0
#: Seconds between looks at what routers have acked, and for withdrawals at the end.
_ACK_POLL_INTERVAL, WITHDRAW_TIMEOUT = 0.02, 2.0
_MAX_SLEEP = 5.0


class NotAnnounced(Exception):
    """No router holds the challenge's path."""


@dataclass(slots=True)
class _ChallengeNode:
    node: AnnouncedNode
    #: Orders that need it.
    users: int = 0
    #: Set once all routers have answered, or their time is over.
    settled: threading.Event = field(default_factory=threading.Event)
    deadline: float = 0.0
    #: Router -> what it said: "acked", "silent" or a problem.
    routers: dict[str, str] = field(default_factory=dict)


class ChallengeAnnouncer:
    """Announces challenges of ``address`` to ``routers``."""

    def __init__(self, routers: Sequence[Address], secret: bytes, address: Address) -> None:
        # Where we answer challenges routers can write to us; beside their own socket we may write nothing.
        answers = Path(address.path).parent if address.kind == "unix" else None
        self._announcer = WorkerAnnouncer(routers, Credentials(secret), ack_directory=answers)
        self._address = f":{address.port}" if address.unspecified else str(address)
        self._lock = threading.Lock()
        self._nodes: dict[str, _ChallengeNode] = {}
        self._changes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announce", daemon=True)

    def start(self) -> None:
        """Begin to speak with the routers."""
        self._thread.start()

    def close(self) -> None:
        """Withdraw everything."""
        self._ending.set()
        self._announcer.wake()
        self._thread.join(WITHDRAW_TIMEOUT + 1)

    @contextlib.contextmanager
    def announced(self, host: str) -> Iterator[str]:
        """Keep the challenge's path of ``host`` announced meanwhile; gives what is to be said of routers that are
        away, or raises :class:`NotAnnounced` when no router acked."""
        with self._lock:
            challenge = self._nodes.get(host)
            if challenge is None:
                # Without an owner, as a challenge server takes it.
                entry = Entry(f"{host}{CHALLENGE_PATH}", options=NodeOptions(protocol="http"))
                challenge = self._nodes[host] = _ChallengeNode(AnnouncedNode(f"challenge of {host}", [entry]))
            elif not challenge.users:
                # It is being withdrawn: it joins again.
                challenge.settled = threading.Event()
            challenge.users += 1
        self._tell(host)
        try:
            challenge.settled.wait(ACK_TIMEOUT + 1)
            yield _remark(challenge)
        finally:
            with self._lock:
                challenge.users -= 1
            self._tell(host)

    def _tell(self, host: str) -> None:
        self._changes.put(host)
        self._announcer.wake()

    # On the thread

    def _run(self) -> None:
        while not self._ending.is_set():
            now = time.monotonic()
            self._take_changes(now)
            self._announcer.step(now)
            waiting = self._settle(now)
            due = min(self._announcer.due, now + (_ACK_POLL_INTERVAL if waiting else _MAX_SLEEP))
            self._announcer.wait(due - time.monotonic())
        self._withdraw_all()
        self._announcer.close()

    def _take_changes(self, now: float) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                host = self._changes.get_nowait()
                with self._lock:
                    challenge = self._nodes.get(host)
                    needed = challenge is not None and challenge.users > 0
                if challenge is None:
                    continue
                if not needed:
                    self._announcer.leave(challenge.node, now)
                elif not challenge.node.address:
                    challenge.deadline = now + ACK_TIMEOUT
                    self._announcer.join(challenge.node, self._address, now)

    def _settle(self, now: float) -> bool:
        """Look what became of each; whether something is waited for."""
        waiting = False
        with self._lock:
            nodes = list(self._nodes.items())
        for host, challenge in nodes:
            if not challenge.node.address:
                waiting = not self._forget(host, challenge, now) or waiting
            elif not challenge.settled.is_set():
                if self._announcer.settled(challenge.node) or now >= challenge.deadline:
                    challenge.routers = self._announcer.answers(challenge.node)
                    challenge.settled.set()
                else:
                    waiting = True
        return waiting

    def _forget(self, host: str, challenge: _ChallengeNode, now: float) -> bool:
        """Forget a challenge that no router sends requests for any more."""
        with self._lock:
            if challenge.users or not self._announcer.withdrawn(challenge.node, now):
                return False
            del self._nodes[host]
        self._announcer.forget(challenge.node)
        return True

    def _withdraw_all(self) -> None:
        now = time.monotonic()
        with self._lock:
            nodes = [challenge.node for challenge in self._nodes.values()]
        for node in nodes:
            self._announcer.leave(node, now)
        deadline = now + WITHDRAW_TIMEOUT
        while now < deadline and not all(self._announcer.withdrawn(node, now) for node in nodes):
            self._announcer.step(now)
            self._announcer.wait(min(_ACK_POLL_INTERVAL, self._announcer.due - now))
            now = time.monotonic()


def _remark(challenge: _ChallengeNode) -> str:
    """What is to be said of routers that do not hold the path."""
    others = {router: state for router, state in challenge.routers.items() if state != "acked"}
    text = ", ".join(f"router {router} {'does not answer' if state == 'silent' else f'refuses: {state}'}"
                     for router, state in sorted(others.items()))  # fmt: skip
    if "acked" in challenge.routers.values():
        return text
    raise NotAnnounced(f"no router has taken the path of the challenge: {text or 'none was found (--router)'}")
