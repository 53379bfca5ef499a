"""uWSGI's ``fastrouter-resubscribe``: other routers are told of the keys that are served here, with our own address.

One edge (it sends).  The original passes each packet on, so that one worker's good-bye takes the whole key from the
other router until the next worker speaks.  Here a key is told when it has its first node, again every
``ANNOUNCE_INTERVAL`` seconds, and withdrawn with its last node, and with the end of this router.  With it go the
routers that it came by (``via``), so that those that tell each other never take their own word for a worker.
"""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.address import Address, join_host_port, parse_address
from fastroute.router.protocol.entry import MAX_HOPS
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.subscription import Announcement, Entry, encode_plain
from fastroute.router.runtime.logs import get_logger

#: Seconds.  The original forgets a node that is silent for 17 s, so two packets may be lost.
ANNOUNCE_INTERVAL = 5.0

log = get_logger("fastroute.router")


class Resubscription:
    """Announces ``table``'s keys to ``routers``, with our socket ``front`` as the address of the node."""

    def __init__(self, routers: tuple[Address, ...], front: str, table: Table) -> None:
        self.book = ConfiguredNodes(resubscribe=routers)
        self._routers, self._table = routers, table
        self._own = parse_address(front if front[0] != "." else os.path.abspath(front))
        #: By key: when it was announced, and by which routers it came.
        self._announced: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._links: dict[str, tuple[socket.socket, str]] = {}
        self._withdrawn = False

    def changed(self, keys: Iterable[str], now: float) -> None:
        """Nodes of ``keys`` came or went."""
        for key in keys if not self._withdrawn else ():
            entry, announced = self._entry(key), self._announced.get(key)
            if entry is not None and (announced is None or announced[1] != entry.via):
                self._join(key, now)
            elif entry is None and self._announced.pop(key, None) is not None:
                self._send(Entry(key, gone=True))

    def refresh(self, now: float) -> None:
        """Say again what was last said too long ago."""
        while self._announced:
            key, (announced_at, _) = next(iter(self._announced.items()))
            if now - announced_at < ANNOUNCE_INTERVAL:
                return
            self._join(key, now)

    def withdraw(self) -> None:
        """This router takes no requests any more."""
        self._withdrawn = True
        for key in self._announced:
            self._send(Entry(key, gone=True))
        self._announced.clear()
        for sock, _ in self._links.values():
            sock.close()
        self._links.clear()

    def _entry(self, key: str) -> Entry | None:
        """What there is to say of ``key``, by the node that is the fewest routers away; None when none is served."""
        pool = self._table.pools.get(key)
        members = pool.members.values() if pool else ()
        entries = (member.entry for member in members if member.claims and not member.draining)
        near = (entry for entry in entries if entry.via.count(",") + 2 <= MAX_HOPS)
        return min(near, key=lambda entry: len(entry.via), default=None)

    def _join(self, key: str, now: float) -> None:
        self._announced.pop(key, None)
        if (entry := self._entry(key)) is not None:
            self._announced[key] = now, entry.via
            via = ",".join(filter(None, (self._table.router_id, entry.via)))
            options = entry.options
            relayed = NodeOptions(modifier1=options.modifier1, modifier2=options.modifier2)
            self._send(Entry(key, options=relayed, via=via))

    def _send(self, entry: Entry) -> None:
        targets = {target for router in self._routers for target in self.book.targets(router)}
        for gone in self._links.keys() - targets:
            self._links.pop(gone)[0].close()
        for target in targets:
            try:
                sock, own = self._links.get(target) or self._link(target)
                sock.send(encode_plain(_at(entry, own), Announcement()))
            except OSError as error:
                # Nobody listens there (yet): said again soon enough.
                log.debug("resubscribe to %s: %s", target, error)

    def _link(self, target: str) -> tuple[socket.socket, str]:
        """A socket to ``target``, and this router's address as seen from there."""
        address = parse_address(target)
        family = (
            socket.AF_UNIX if address.kind == "unix" else socket.AF_INET6 if ":" in address.host else socket.AF_INET
        )
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(address.sockaddr())
        except OSError:
            sock.close()
            raise
        own = str(self._own)
        if self._own.unspecified and family != socket.AF_UNIX:
            own = join_host_port(sock.getsockname()[0], self._own.port)
        self._links[target] = sock, own
        return sock, own


def _at(entry: Entry, address: str) -> Entry:
    return replace(entry, address=address)
