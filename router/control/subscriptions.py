"""The sockets that subscriptions arrive on: one edge.  Datagrams in, acks out; what they mean is decided elsewhere.

Rules: at most ``MAX_BATCH_COST`` datagrams of one socket before the others get their turn; nothing is read that could
not be counted; datagrams that are refused cost one log line per sender and reason and minute, and ``MAX_LOG_LINES`` per
reason and minute, however many come and from wherever.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastroute.router.control.auth.authenticator import Admitted, AskAgain, PacketAuthenticator, Refused
from fastroute.router.control.auth.rate_limit import PACKET_COST
from fastroute.router.control.auth.rules import IPAddress, sender_ip
from fastroute.router.protocol.proof import PROOF_SIZE, has_proof, sign_ack
from fastroute.router.protocol.subscription import Ack, PacketError, encode_ack
from fastroute.router.protocol.wire import MAX_PACKET
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.logs import KindLimit, get_logger

#: Bytes taken in one go (each datagram counts PACKET_COST more): 100 workers' announcements keep every other task of
#: the loop waiting for 3 ms; and datagrams read, as one that is dropped costs about 3 us.
MAX_BATCH_COST = 20_000
MAX_BATCH_READS = 1_000
#: Lines of log (and events) for each reason to refuse, in a minute, of all senders together.
MAX_LOG_LINES = 10
#: asm-generic/socket.h; the socket module has no name for it.
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("9I")

log = get_logger("fastroute.router")


@dataclass(slots=True)
class Sender:
    """Where a datagram came from, and how to answer it."""

    sock: socket.socket
    address: Any
    #: What counts for the rules; None: a unix socket.
    ip: IPAddress | None
    #: That of the packet's proof, when it has a right one: the answer is proven, too.
    nonce: str = ""
    #: Makes the answer's proof.
    seal: Callable[[bytes, str], bytes] | None = None

    @property
    def own_ip(self) -> str:
        """What ``:port`` in an announced address stands for."""
        return "127.0.0.1" if self.ip is None else str(self.ip)

    @property
    def port(self) -> int:
        """The UDP port; 0 for a unix socket."""
        return 0 if self.ip is None else int(self.address[1])

    def __str__(self) -> str:
        return f"unix socket {self.address!r}" if self.ip is None else str(self.ip)

    @property
    def trusted(self) -> bool:
        """True when answering can't be abused to send datagrams to a third party."""
        return self.ip is None or self.ip.is_loopback or bool(self.nonce)

    def answer(self, ack: Ack) -> None:
        """Send ``ack`` back, if that is possible at once; who does not get it asks again."""
        datagram = encode_ack(ack)
        if self.nonce and self.seal is not None:
            datagram = self.seal(datagram, self.nonce)
        try:
            if self.address:
                self.sock.sendto(datagram, socket.MSG_DONTWAIT, self.address)
            else:
                # Our own workers' end of a socket pair; anybody else without an address can't be answered.
                self.sock.send(datagram, socket.MSG_DONTWAIT)
        except OSError as error:
            log.debug("no ack to %s: %s", self, error)


class SubscriptionServer:
    """Reads all subscription sockets.

    ``sockets``: each with the authenticator that decides what may arrive there.
    ``on_admitted`` gets each packet that counts, and may raise ``PacketError``; ``on_burst`` is called after each
    batch. ``secret`` proves the acks to senders that have proven themselves.  ``results`` counts packets by result and
    reason.
    """

    def __init__(
        self,
        sockets: Mapping[socket.socket, PacketAuthenticator],
        on_admitted: Callable[[Admitted, Sender, bytes], None],
        on_burst: Callable[[], None],
        boot_id: str,
        secret: bytes | None = None,
        events: EventLog | None = None,
    ) -> None:
        self.results: dict[tuple[str, str], int] = {}
        self._on_admitted, self._on_burst = on_admitted, on_burst
        self._secret, self._events = secret, events
        self._said = KindLimit(60, MAX_LOG_LINES)
        self._boot_id = boot_id
        self._sockets = sockets
        self._buffer = memoryview(bytearray(MAX_PACKET))
        for sock in sockets:
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    def read(self) -> None:
        """Take what waits now: a batch of each socket."""
        for sock in self._sockets:
            self._readable(sock)

    def close(self) -> None:
        """Stop reading."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def count(self, result: str, reason: str = "", packets: int = 1) -> None:
        """Count ``packets``; ``reason`` of those that were refused."""
        self.results[result, reason] = self.results.get((result, reason), 0) + packets

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel dropped because the sockets were full, ours to read too late."""
        return sum(_dropped(sock) for sock in self._sockets)

    def refuse(self, sender: Sender, refused: Refused) -> None:
        """Count a packet that changed nothing, answer it if it asks, and log it (rarely)."""
        self.count("refused", refused.reason)
        if refused.seq is not None and sender.trusted:
            sender.answer(Ack(refused.seq, self._boot_id, "refused", reason=refused.text[:200]))
        now = asyncio.get_running_loop().time()
        if (skipped := self._said.allow(refused.reason, str(sender.ip), now)) is None:
            return
        text = refused.text
        if skipped:
            text += f" ({skipped} more for this reason)"
        if self._said.last(refused.reason):
            text += "; further ones for this reason are only counted for a while (fastroute_subscriptions_total)"
        log.warning("subscription from %s refused: %s", sender, text, extra={"reason": refused.reason})
        if self._events is not None:
            self._events.add("subscription-refused", text=f"from {sender}: {text}", reason=refused.reason)

    def _readable(self, sock: socket.socket) -> None:
        taken = dropped = 0
        now = asyncio.get_running_loop().time()
        udp = sock.family != socket.AF_UNIX
        buffer, authenticator = self._buffer, self._sockets[sock]
        for _ in range(MAX_BATCH_READS):
            try:
                size, address = sock.recvfrom_into(buffer)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP answer to an earlier ack shows up here; the socket itself is fine.
                log.debug("subscription socket: %s", error)
                continue
            over_limit = udp and authenticator.drops(address, now)
            if over_limit and not has_proof(buffer[max(0, size - PROOF_SIZE) : size]):
                dropped += 1
                continue
            ip = sender_ip(address[0]) if udp else None
            sender = Sender(sock, address, ip, seal=functools.partial(self._seal, authenticator))
            taken += self._datagram(bytes(buffer[:size]), sender, authenticator, now)
            if taken >= MAX_BATCH_COST:
                break
        if dropped:
            self.count("refused", "limited", dropped)
        self._on_burst()

    def _datagram(self, data: bytes, sender: Sender, authenticator: PacketAuthenticator, now: float) -> int:
        """How much it took of a batch; nothing, if it was dropped before decoding."""
        result = authenticator.authenticate(data, sender.ip, sender.port, now, time.time())
        sender.nonce = result.nonce
        if isinstance(result, Refused):
            self.refuse(sender, result)
            return 0 if result.reason in ("limited", "sender") else PACKET_COST + len(data)
        announcement = result.announcement
        if isinstance(result, AskAgain):
            self.count("again")
            if announcement.ack:
                sender.answer(Ack(announcement.seq, self._boot_id, "again"))
            return PACKET_COST + len(data)
        try:
            self._on_admitted(result, sender, data)
        except PacketError as error:
            self.refuse(sender, Refused.by(error, announcement))
        return PACKET_COST + len(data)

    def _seal(self, authenticator: PacketAuthenticator, datagram: bytes, nonce: str) -> bytes:
        session = authenticator.session(asyncio.get_running_loop().time())
        return sign_ack(datagram, self._secret or b"", session, nonce)


def _dropped(sock: socket.socket) -> int:
    """What the kernel dropped at ``sock``: the last of SO_MEMINFO's nine numbers (linux/sock_diag.h)."""
    try:
        return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])
    except (OSError, struct.error):
        return 0
