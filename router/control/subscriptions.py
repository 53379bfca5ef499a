"""The sockets that subscriptions arrive on: one edge.  Datagrams in, acks out; what they mean is decided elsewhere.

Rules: at most ``BATCH`` datagrams of one socket before the others get their turn; nothing is read that could not be
counted; a datagram that is refused costs one log line per sender and reason and minute, however many come.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastroute.router.control.admission import Admission, IPAddress, sender_ip
from fastroute.router.logs import RateLimit, get_logger
from fastroute.router.subscription import Ack, Announcement, Refused, decode, encode_ack

#: Largest datagram: the format's own limit and its header.
MAX_DATAGRAM = 65_539
#: Datagrams read in one go: 100 at about 30 us each keep every other task of the loop waiting for 3 ms at most.
BATCH = 100

log = get_logger("fastroute.router")


@dataclass(frozen=True, slots=True)
class Sender:
    """Where a datagram came from: how to answer, and the IP (None: a unix socket) that counts for admission."""

    sock: socket.socket
    address: Any
    ip: IPAddress | None

    @property
    def own_ip(self) -> str:
        """What ``:port`` in an announced address stands for."""
        return "127.0.0.1" if self.ip is None else str(self.ip)

    def __str__(self) -> str:
        return f"unix socket {self.address!r}" if self.ip is None else str(self.ip)

    @property
    def proven(self) -> bool:
        """True when answering can't be abused to send datagrams to a third party."""
        return self.ip is None or self.ip.is_loopback

    def answer(self, datagram: bytes) -> None:
        """Send an ack back, if that is possible at once; who does not get it asks again."""
        if not self.address:
            return
        try:
            self.sock.sendto(datagram, socket.MSG_DONTWAIT, self.address)
        except OSError as error:
            log.debug("no ack to %s: %s", self, error)


class SubscriptionServer:
    """Reads all subscription sockets; hands each admitted announcement to ``on_announcement`` and the end of each
    burst to ``on_burst``; ``results`` counts packets by result and reason."""

    def __init__(
        self,
        sockets: list[socket.socket],
        admission: Admission,
        on_announcement: Callable[[Announcement, Sender, bytes], None],
        on_burst: Callable[[], None],
        boot_id: str,
    ) -> None:
        self.results: dict[str, int] = {}
        self._admission, self._on_announcement, self._on_burst = admission, on_announcement, on_burst
        self._said = RateLimit(60)
        self._boot_id = boot_id
        self._sockets = sockets
        for sock in sockets:
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    def close(self) -> None:
        """Stop reading."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def count(self, result: str) -> None:
        """Count one packet."""
        self.results[result] = self.results.get(result, 0) + 1

    def refuse(self, sender: Sender, refused: Refused) -> None:
        """Count and say (rarely) that a packet changed nothing."""
        self.count(refused.reason)
        if refused.seq is not None and sender.proven:
            sender.answer(encode_ack(Ack(refused.seq, self._boot_id, "refused", reason=str(refused)[:200])))
        now = asyncio.get_running_loop().time()
        if (skipped := self._said.allow((str(sender.ip), refused.reason), now)) is not None:
            more = f" ({skipped} more like this)" if skipped else ""
            log.warning("subscription from %s refused: %s%s", sender, refused, more, extra={"reason": refused.reason})

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data, address = sock.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP answer to an earlier ack shows up here; the socket itself is fine.
                log.debug("subscription socket: %s", error)
                continue
            ip = None if sock.family == socket.AF_UNIX else sender_ip(address[0])
            self._datagram(data, Sender(sock, address, ip))
        self._on_burst()

    def _datagram(self, data: bytes, sender: Sender) -> None:
        announcement: Announcement | Ack | None = None
        try:
            self._admission.check_sender(sender.ip)
            announcement = decode(data)
            if isinstance(announcement, Ack):
                raise Refused("malformed", "an ack: routers send these, they don't take them")
            self._admission.check(announcement, sender.ip)
            self._on_announcement(announcement, sender, data)
        except Refused as refused:
            if isinstance(announcement, Announcement) and announcement.ack:
                refused.seq = announcement.seq
            self.refuse(sender, refused)
