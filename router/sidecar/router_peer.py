"""One router address: its socket, the leases of all nodes there, and the proof that its packets carry.  One edge.

What is said is decided in :mod:`.lease`; here it becomes datagrams, and acks find the lease that waits for them.
Nothing blocks; a datagram that the kernel does not take counts as lost.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastroute.router.address import join_host_port, parse_address
from fastroute.router.proof import Prover
from fastroute.router.runtime.ack_socket import bind_for_acks, connect
from fastroute.router.sidecar.lease import Lease
from fastroute.router.sidecar.router_names import Target
from fastroute.router.sidecar.signature import PrivateKey, Signer
from fastroute.router.subscription import Ack, Announcement, Entry, decode_ack, encode_plain
from fastroute.router.wire import MAX_PACKET

#: Seconds between attempts to get a socket.
REOPEN = 0.5
#: Questions whose acks are still understood.
_REMEMBERED = 4096

log = logging.getLogger("fastroute.announce")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who we are: a shared secret, or a private key (with its digest) as uWSGI has them; or nothing."""

    secret: bytes = b""
    digest: str = ""
    key: PrivateKey | None = None

    @property
    def any(self) -> bool:
        """Then an address without host would be refused: no proof covers where a datagram comes from."""
        return bool(self.secret) or self.key is not None


class SocketWatcher(Protocol):
    """What a link needs of the loop that owns it."""

    def watch(self, sock: socket.socket, link: RouterPeer) -> None:
        """Tell ``link`` when ``sock`` is readable."""

    def unwatch(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""


class RouterPeer:
    """``name`` is how the router was written; ``sock`` is given when it is connected already (a socket pair)."""

    def __init__(
        self,
        name: str,
        target: Target,
        credentials: Credentials,
        waiter: SocketWatcher,
        sock: socket.socket | None = None,
    ) -> None:
        self.name, self.target = name, target
        self._waiter = waiter
        self.sock = sock
        if sock is not None:
            sock.setblocking(False)
            waiter.watch(sock, self)
        self.leases: dict[object, Lease] = {}
        self.boot = ""
        self.failed = False
        """The router refused a datagram, or there is no way to it."""
        self._credentials, self._given = credentials, sock is not None
        self._prover = Prover(credentials.secret) if credentials.secret else None
        self._signer = Signer(credentials.digest, credentials.key) if credentials.key else None
        self._seqs = itertools.count(time.time_ns() // 1000)
        self._asked: dict[int, tuple[Lease, int, float]] = {}
        self._own_path: Path | None = None
        self._next_open = 0.0
        self._said: tuple[str, str] = ("", "")

    def __str__(self) -> str:
        if isinstance(self.target, str):
            return self.target or self.name
        text = join_host_port(*self.target)
        return text if text == self.name else f"{self.name} ({text})"

    # Nodes

    def join(self, node: object, entries: Sequence[Entry], address: str, now: float) -> None:
        """Keep a lease of ``node`` at ``address``."""
        lease = self.leases.get(node) or self.leases.setdefault(node, Lease(entries, random.uniform))
        lease.join(self._meant(lease, address), now)

    def drop(self, node: object) -> None:
        """Nothing more is said of ``node``."""
        self.leases.pop(node, None)

    def _meant(self, lease: Lease, address: str) -> str:
        """``:port`` with our own IP, for routers that don't fill it in."""
        if not address.startswith(":") or not (self._credentials.any or lease.original) or self.sock is None:
            return address
        if isinstance(self.target, str):
            return f"127.0.0.1{address}"
        return join_host_port(self.sock.getsockname()[0], parse_address(address).port)

    # Time

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do."""
        due = min((lease.due for lease in self.leases.values()), default=float("inf"))
        return due if self.sock is not None else max(due, self._next_open)

    def step(self, now: float) -> None:
        """Send what is due."""
        if self.due > now or (self.sock is None and not self._open(now)):
            return
        for lease in list(self.leases.values()):
            if lease.original and lease.joined and lease.address.startswith(":"):
                lease.join(self._meant(lease, lease.address), now)
            for index, entry in lease.say(now):
                self._send(lease, index, entry, now)
        self._report()

    def ready(self, now: float) -> None:
        """The socket is readable."""
        while self.sock is not None:
            try:
                datagram = self.sock.recv(MAX_PACKET)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._trouble(error, now)
                break
            ack = decode_ack(datagram) if self._prover is None else self._prover.open(datagram)
            if ack is not None:
                self._heard(ack, now)
        self._report()

    def close(self) -> None:
        """Say goodbye (once: who is no longer behind the name may not be there) and give up the socket."""
        now = time.monotonic()
        for lease in self.leases.values():
            if lease.joined and self.sock is not None:
                lease.leave(now)
                for index, entry in lease.say(now):
                    self._send(lease, index, entry, now)
        self._close()

    # Inside

    def _open(self, now: float) -> bool:
        self._next_open = now + REOPEN
        try:
            sock = connect(self.target)
        except OSError as error:
            self._trouble(error, now)
            return False
        # Without a socket of ours that the router can write to there are no acks; the packets count all the same.
        with contextlib.suppress(OSError):
            self._own_path = bind_for_acks(sock, self.target)
        self.sock = sock
        self._waiter.watch(sock, self)
        return True

    def _close(self) -> None:
        if self.sock is not None and not self._given:
            self._waiter.unwatch(self.sock)
            self.sock.close()
            self.sock = None
        if self._own_path is not None:
            self._own_path.unlink(missing_ok=True)
            self._own_path = None

    def _send(self, lease: Lease, index: int, entry: Entry, now: float) -> None:
        if self.sock is None:
            return
        seq = next(self._seqs)
        packet = encode_plain(entry, Announcement(seq=seq, ack=True))
        if self._signer is not None:
            node = f"{entry.key} {entry.address}"
            packet = self._signer.seal(packet, node, leaving=entry.gone, wall=time.time())
        if self._prover is not None:
            packet = self._prover.seal(packet)
        self._asked[seq] = lease, index, now
        if len(self._asked) > _REMEMBERED:
            del self._asked[next(iter(self._asked))]
        try:
            self.sock.send(packet)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._trouble(error, now)

    def _heard(self, ack: Ack, now: float) -> None:
        asked = self._asked.pop(ack.seq, None)
        if asked is None:
            return
        self.failed = False
        lease, index, at = asked
        lease.heard(index, at, ack, now)
        if ack.boot and ack.boot != self.boot:
            if self.boot:
                log.info("router %s: it has started anew", self)
            self.boot = ack.boot
            for other in self.leases.values():
                if other is not lease or not other.acked:
                    other.again(now)

    def _trouble(self, error: OSError, now: float) -> None:
        """UDP: the answer to an earlier datagram, or no route.  The next attempt has a fresh socket (and source IP)."""
        log.debug("router %s: %s", self, error)
        self.failed = True
        self._next_open = now + REOPEN
        if not isinstance(error, ConnectionRefusedError) or isinstance(self.target, str):
            self._close()

    def _report(self) -> None:
        """Say what changed, once."""
        problem = next((lease.problem for lease in self.leases.values() if lease.problem), "")
        joined = [lease for lease in self.leases.values() if lease.joined]
        state = "none"
        if any(lease.acked for lease in joined):
            state = "acked"
        elif joined and all(lease.original for lease in joined):
            state = "original"
        if state == "none" and not problem:
            return
        if (state, problem) != self._said:
            self._said = state, problem
            if problem:
                log.error("router %s refuses: %s", self, problem)
            elif state == "original":
                log.info("router %s: announced; it does not ack, as an original uWSGI (or nobody is there)", self)
            else:
                log.info("router %s: announced and acked (boot id %s)", self, self.boot)


def own_pid_owner() -> str:
    """Who announces: one process of one host, so that two that announce the same address don't undo each other."""
    host = "".join(char for char in socket.gethostname() if char.isalnum() or char in "._-")[:64]
    return f"{host or 'localhost'}/{os.getpid()}.{time.time_ns() // 1_000_000:x}"
