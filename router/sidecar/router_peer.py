"""One router address: its socket, the leases of all nodes there, and the proof that its packets carry.  One edge.

:mod:`.lease` decides what is sent; here it becomes datagrams, and acks are handed to the lease that waits for them.
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

from fastroute.router.protocol.address import join_host_port, parse_address
from fastroute.router.protocol.proof import Prover
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode_ack, encode_plain
from fastroute.router.protocol.wire import MAX_PACKET
from fastroute.router.runtime.ack_socket import bind_for_acks, connect
from fastroute.router.sidecar.lease import Lease
from fastroute.router.sidecar.router_names import Target
from fastroute.router.sidecar.signature import Sign, Signer

#: Seconds between attempts to open a socket.
REOPEN_INTERVAL = 0.5
#: Packets whose acks are still expected.
_MAX_PENDING = 4096

log = logging.getLogger("fastroute.announce")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who we are: a shared secret, or a private key as uWSGI has them; or nothing."""

    secret: bytes = b""
    #: Signs with the private key.
    sign: Sign | None = None

    @property
    def any(self) -> bool:
        """Then an address without host would be refused: no proof covers where a datagram comes from."""
        return bool(self.secret) or self.sign is not None


class SocketWatcher(Protocol):
    """What a router's peer needs of the loop that owns it."""

    def watch(self, sock: socket.socket, peer: RouterPeer) -> None:
        """Tell ``peer`` when ``sock`` is readable."""

    def unwatch(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""


class RouterPeer:
    """One address of one router, as an announcer sees it."""

    def __init__(
        self,
        name: str,
        target: Target,
        credentials: Credentials,
        watcher: SocketWatcher,
        sock: socket.socket | None = None,
        ack_directory: Path | None = None,
    ) -> None:
        #: The router as its user wrote it.
        self.name = name
        self.target = target
        self._watcher = watcher
        #: Given when it is connected already (a socket pair); None: not open now.
        self.sock = sock
        if sock is not None:
            sock.setblocking(False)
            watcher.watch(sock, self)
        self.leases: dict[object, Lease] = {}
        #: The router's boot id, as it acked last.
        self.boot = ""
        #: The router refused a datagram, or there is no way to it.
        self.failed = False
        self._credentials, self._given = credentials, sock is not None
        self._prover = Prover(credentials.secret) if credentials.secret else None
        self._signer = Signer(credentials.sign) if credentials.sign else None
        self._seqs = itertools.count(time.time_ns() // 1000)
        #: Sequence number -> the lease, its key's index and the time of a packet that was not acked yet.
        self._pending: dict[int, tuple[Lease, int, float]] = {}
        self._own_path: Path | None = None
        self._ack_directory = ack_directory
        self._next_open = 0.0
        #: State and problem as they were logged last.
        self._logged: tuple[str, str] = ("", "")

    def __str__(self) -> str:
        if isinstance(self.target, str):
            return self.target or self.name
        text = join_host_port(*self.target)
        return text if text == self.name else f"{self.name} ({text})"

    # Nodes

    def join(self, node: object, entries: Sequence[Entry], address: str, now: float) -> None:
        """Keep a lease of ``node`` at ``address``."""
        lease = self.leases.get(node) or self.leases.setdefault(node, Lease(entries, random.uniform))
        lease.join(self._full_address(lease, address), now)

    def drop(self, node: object) -> None:
        """Send nothing about ``node`` any more."""
        self.leases.pop(node, None)

    def _full_address(self, lease: Lease, address: str) -> str:
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
                lease.join(self._full_address(lease, lease.address), now)
            for index, entry in lease.packets(now):
                self._send(lease, index, entry, now)
        self._log_state()

    def ready(self, now: float) -> None:
        """The socket is readable."""
        while self.sock is not None:
            try:
                datagram = self.sock.recv(MAX_PACKET)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._on_error(error, now)
                break
            ack = decode_ack(datagram) if self._prover is None else self._prover.open(datagram)
            if ack is not None:
                self._on_ack(ack, now)
        self._log_state()

    def close(self) -> None:
        """Withdraw all nodes (once: a router that left its name may be gone) and close the socket."""
        now = time.monotonic()
        for lease in self.leases.values():
            if lease.joined and self.sock is not None:
                lease.leave(now)
                for index, entry in lease.packets(now):
                    self._send(lease, index, entry, now)
        self._close()

    # Inside

    def _open(self, now: float) -> bool:
        self._next_open = now + REOPEN_INTERVAL
        try:
            sock = connect(self.target)
        except OSError as error:
            self._on_error(error, now)
            return False
        # If the router can't write to our socket, there are no acks; it takes the packets all the same.
        with contextlib.suppress(OSError):
            self._own_path = bind_for_acks(sock, self.target, self._ack_directory)
        self.sock = sock
        self._watcher.watch(sock, self)
        return True

    def _close(self) -> None:
        if self.sock is not None and not self._given:
            self._watcher.unwatch(self.sock)
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
        self._pending[seq] = lease, index, now
        if len(self._pending) > _MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        try:
            self.sock.send(packet)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._on_error(error, now)

    def _on_ack(self, ack: Ack, now: float) -> None:
        pending = self._pending.pop(ack.seq, None)
        if pending is None:
            return
        self.failed = False
        lease, index, sent = pending
        lease.on_ack(index, sent, ack, now)
        if ack.boot and ack.boot != self.boot:
            if self.boot:
                log.info("router %s: it has started anew", self)
            self.boot = ack.boot
            for other in self.leases.values():
                if other is not lease or not other.acked:
                    other.announce_again(now)

    def _on_error(self, error: OSError, now: float) -> None:
        """Reopen the socket later.  With UDP, an error answers an earlier datagram, or says that there is no route."""
        log.debug("router %s: %s", self, error)
        self.failed = True
        self._next_open = now + REOPEN_INTERVAL
        if not isinstance(error, ConnectionRefusedError) or isinstance(self.target, str):
            self._close()

    def _log_state(self) -> None:
        """Log what changed, once."""
        problem = next((lease.problem for lease in self.leases.values() if lease.problem), "")
        joined = [lease for lease in self.leases.values() if lease.joined]
        state = "none"
        if any(lease.acked for lease in joined):
            state = "acked"
        elif joined and all(lease.original for lease in joined):
            state = "original"
        if state == "none" and not problem:
            return
        if (state, problem) != self._logged:
            self._logged = state, problem
            if problem:
                log.error("router %s refuses: %s", self, problem)
            elif state == "original":
                log.info("router %s: announced; it does not ack, as an original uWSGI (or no router is there)", self)
            else:
                log.info("router %s: announced and acked (boot id %s)", self, self.boot)


def own_pid_owner() -> str:
    """The owner of what we announce: this process of this host.  So two with one address don't undo each other."""
    host = "".join(char for char in socket.gethostname() if char.isalnum() or char in "._-")[:64]
    return f"{host or 'localhost'}/{os.getpid()}.{time.time_ns() // 1_000_000:x}"
