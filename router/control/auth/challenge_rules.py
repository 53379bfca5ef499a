"""What may be announced at a challenge server: where ACME challenges of a host are answered, and nothing else.  Pure.

fastroute-certs is on the internet and has private keys.  Whoever takes it over must not get one request beyond
``/.well-known/acme-challenge``: so it has no other subscription socket (docs/security.md), and here

* it speaks for itself (no source: it can't end, replace or complete what a controller has announced),
* every key is ``HOST/.well-known/acme-challenge`` of one host (a wildcard would be asked for hosts of nobody),
* every address is one of ``--challenge-node``, or without any its own IP; never somebody else's, a name, or a path.

Leaving is held to the same: it ends only what may be announced here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastroute.router.control.auth.rules import MAX_UNPROVEN, AdmissionRules, IPAddress
from fastroute.router.protocol.address import Address, AddressError, parse_address
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError

_CHALLENGE_KEY = re.compile(r"[^*/]+/\.well-known/acme-challenge")


class ChallengeRules:
    """The rule; ``senders`` decides who may send at all, and ``nodes`` are the addresses of ``--challenge-node``."""

    def __init__(self, senders: AdmissionRules, nodes: Iterable[Address]) -> None:
        self._senders = senders
        self._nodes = frozenset(map(str, nodes))

    def check_sender(self, sender: IPAddress | None) -> None:
        """As :meth:`AdmissionRules.check_sender`."""
        self._senders.check_sender(sender)

    def check(self, announcement: Announcement, sender: IPAddress | None, *, proven: bool = False) -> None:
        """``PacketError`` unless ``announcement`` is about challenges alone; proofs change nothing here."""
        if announcement.op != "nodes" or announcement.source or announcement.instance >= 0:
            raise PacketError("not-challenge", "a challenge server takes no source: announcers speak for themselves")
        for entry in announcement.entries:
            self._check_entry(entry, sender)
        if self._nodes:
            # A listed address needs no proof that it is the sender's own.
            sender = None
        self._senders.check(announcement, sender)

    def max_nodes(self, sender: IPAddress | None, *, proven: bool = False) -> int | None:
        """How many challenges are under way at once, at most: nobody fills the table from here."""
        return MAX_UNPROVEN

    def _check_entry(self, entry: Entry, sender: IPAddress | None) -> None:
        if not _CHALLENGE_KEY.fullmatch(entry.key):
            text = f"key {entry.key[:80]!r}: HOST/.well-known/acme-challenge expected at a challenge server"
            raise PacketError("not-challenge", text)
        if "@" in entry.owner or entry.via:
            raise PacketError(
                "not-challenge", f"key {entry.key[:80]!r}: no container and no router announces challenges"
            )
        try:
            address = parse_address(entry.address)
        except AddressError as error:
            raise PacketError("bad-address", str(error)) from None
        if self._nodes:
            if str(address) not in self._nodes:
                text = f"{entry.address!r} is not the --challenge-node: {', '.join(sorted(self._nodes))}"
                raise PacketError("foreign-address", text)
        elif address.kind != "inet" or not (address.unspecified or _is_own(address, sender)):
            text = f"{entry.address!r}: an announcer of challenges may name only itself, unless --challenge-node does"
            raise PacketError("foreign-address", text)


def _is_own(address: Address, sender: IPAddress | None) -> bool:
    """Whether ``address`` is the sender's; who comes by a unix socket is on this machine."""
    return address.host in ({"127.0.0.1", "::1"} if sender is None else {str(sender)})
