"""Announces nodes to routers, on one thread (the caller's).  One edge.

The caller waits on :attr:`selector` until :attr:`due`, hands what is readable to :meth:`ready` and calls :meth:`step`.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from fastroute.router.protocol.address import Address
from fastroute.router.protocol.subscription import Entry
from fastroute.router.sidecar.lease import Lease
from fastroute.router.sidecar.router_names import RouterNames, Target
from fastroute.router.sidecar.router_peer import Credentials, RouterPeer


class AnnouncedNode:
    """One worker, as routers know it."""

    def __init__(self, name: str, entries: Sequence[Entry]) -> None:
        #: For messages.
        self.name = name
        #: One for each key, without address.
        self.entries = tuple(entries)
        #: Empty: it accepts no connections now.
        self.address = ""


class WorkerAnnouncer:
    """Announces nodes to ``routers`` (by address or name), and to the one behind the connected socket ``given``.

    ``ack_directory``: where unix routers answer us, if not beside their own sockets.
    """

    def __init__(
        self,
        routers: Sequence[Address],
        credentials: Credentials,
        given: socket.socket | None = None,
        ack_directory: Path | None = None,
    ) -> None:
        self._credentials, self._ack_directory = credentials, ack_directory
        self.selector = selectors.DefaultSelector()
        self._peers: dict[tuple[Address, Target], RouterPeer] = {}
        self._given = RouterPeer("itself", "", credentials, self, given) if given is not None else None
        self._nodes: list[AnnouncedNode] = []
        # A socket, not a pipe: a thread that wakes us after the end finds it closed, and not a descriptor of others.
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.selector.register(self._woken, selectors.EVENT_READ)
        self._names = RouterNames(routers, self.wake)
        self._names.start()

    # What happens to nodes

    def join(self, node: AnnouncedNode, address: str, now: float) -> None:
        """``node`` accepts connections at ``address``."""
        node.address = address
        if node not in self._nodes:
            self._nodes.append(node)
        self.step(now)
        for peer in self._all():
            peer.join(node, node.entries, address, now)
        self.step(now)

    def leave(self, node: AnnouncedNode, now: float) -> None:
        """``node`` is to get no new requests."""
        node.address = ""
        for lease in self._leases(node):
            lease.leave(now)
        self.step(now)

    def forget(self, node: AnnouncedNode) -> None:
        """``node`` has ended; call it once :meth:`withdrawn` is true."""
        if node in self._nodes:
            self._nodes.remove(node)
        for peer in self._all():
            peer.drop(node)

    def acked(self, node: AnnouncedNode) -> bool:
        """At least one router has acked the node."""
        return any(lease.acked for lease in self._leases(node))

    def settled(self, node: AnnouncedNode) -> bool:
        """Every router has acked or refused the node, or has acked nothing, however often a packet was sent."""
        leases = self._leases(node)
        return bool(leases) and all(lease.acked or lease.original or lease.problem for lease in leases)

    def answers(self, node: AnnouncedNode) -> dict[str, str]:
        """What each router said of the node: ``acked``, ``silent``, or why it refuses."""
        leases = {str(peer): peer.leases[node] for peer in self._all() if node in peer.leases}
        return {name: "acked" if lease.acked else lease.problem or "silent" for name, lease in leases.items()}

    def withdrawn(self, node: AnnouncedNode, now: float) -> bool:
        """No router sends it new requests."""
        return all(lease.withdrawn(now) for lease in self._leases(node))

    def drained(self, node: AnnouncedNode, now: float, grace: float) -> bool:
        """No router has requests in flight at ``node``; one that can't tell was given ``grace`` seconds."""
        return all(lease.drained(now, grace) for lease in self._leases(node))

    def drained_at(self, node: AnnouncedNode, grace: float) -> float:
        """When :meth:`drained` may come true by time alone."""
        return min((lease.drained_at(grace) for lease in self._leases(node)), default=float("inf"))

    def in_flight(self, node: AnnouncedNode) -> int:
        """Requests that routers have in flight at ``node``."""
        return sum(lease.in_flight for lease in self._leases(node))

    # The loop

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do."""
        return min((peer.due for peer in self._all()), default=float("inf"))

    def wake(self) -> None:
        """Have the caller's :meth:`wait` return; from any thread."""
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def step(self, now: float) -> None:
        """Follow the routers' names, send what is due."""
        self._follow_names(now)
        for peer in self._all():
            peer.step(now)
            if peer.failed:
                peer.failed = False
                self._names.doubt()

    def wait(self, seconds: float) -> list[object]:
        """Sleep until something is readable, at most ``seconds``, and read what routers sent.

        Returns the ``data`` of whatever else was registered with the selector and is ready.
        """
        others = []
        for key, _ in self.selector.select(max(0.0, seconds)):
            if isinstance(key.data, RouterPeer):
                key.data.ready(time.monotonic())
            elif key.fileobj is self._woken:
                with contextlib.suppress(OSError):
                    self._woken.recv(4096)
            else:
                others.append(key.data)
        return others

    def close(self) -> None:
        """Withdraw all nodes and close every socket."""
        self._names.close()
        for peer in self._all():
            peer.close()
        self.selector.close()
        self._woken.close()
        self._waker.close()

    # For peers

    def watch(self, sock: socket.socket, peer: RouterPeer) -> None:
        """Tell ``peer`` when ``sock`` is readable."""
        self.selector.register(sock, selectors.EVENT_READ, peer)

    def unwatch(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""
        self.selector.unregister(sock)

    # Inside

    def _all(self) -> list[RouterPeer]:
        return [*self._peers.values(), *([self._given] if self._given is not None else [])]

    def _leases(self, node: AnnouncedNode) -> list[Lease]:
        return [peer.leases[node] for peer in self._all() if node in peer.leases]

    def _follow_names(self, now: float) -> None:
        targets = dict.fromkeys(self._names.targets())
        for name in [name for name in self._peers if name not in targets]:
            self._peers.pop(name).close()
        for router, target in targets:
            if (router, target) not in self._peers:
                peer = self._peers[router, target] = RouterPeer(
                    str(router), target, self._credentials, self, ack_directory=self._ack_directory
                )
                for node in self._nodes:
                    if node.address:
                        peer.join(node, node.entries, node.address, now)
