"""Authentication of a datagram: rate limit, proof, decoding, rules.  Pure; docs/security.md is written from this.

The cheap tests come first, so that senders who may announce nothing cost little: an HMAC takes 3 us, decoding ten times
that, a signature twenty.  A sender with a right proof has no rate limit; a wrong proof and a repeated one count against
the limit of the host that sent them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fastroute.router.control.auth.rate_limit import LOCAL, PACKET_COST, REMOTE, STRANGERS, RateLimits
from fastroute.router.control.auth.replay_guard import ReplayGuard
from fastroute.router.control.auth.rules import IPAddress
from fastroute.router.control.auth.signatures import SignatureStamps, SignatureVerifier
from fastroute.router.protocol.proof import has_proof, verify
from fastroute.router.protocol.subscription import Ack, Announcement, PacketError, decode
from fastroute.router.protocol.wire import encode_name

#: Proven packets over UDP are batches of 1,400 bytes at most (uWSGI's, 4,096): to look for a proof in 64 KiB of a
#: stranger would cost 50 times that.
MAX_PROVEN = 8_192
#: What no signed packet is without.
_SIGN = encode_name(b"sign")


@dataclass(frozen=True, slots=True)
class Admitted:
    """The announcement may be applied."""

    announcement: Announcement
    #: The nodes that workers at this sender's IP may have, at most; None: as many as the table holds.
    max_nodes: int | None = None
    #: The nonce of the packet's proof, for the proof of the answer; empty: the packet had none.
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The proof is right, but for another session: the answer names the present session, and the sender tries again."""

    announcement: Announcement
    nonce: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The packet changes nothing."""

    #: One of a few words, fit for a metric's label.
    reason: str
    text: str
    #: The ``seq`` for the answer (-1: the packet has none); None: the packet gets no answer.
    seq: int | None = None
    nonce: str = ""

    @classmethod
    def by(cls, error: PacketError, announcement: Announcement | None = None, nonce: str = "") -> Refused:
        """The refusal for ``error``, answered as the packet asks: as far as it was read, or as ``announcement``
        says."""
        seq = error.seq
        if announcement is not None and announcement.ack:
            seq = announcement.seq
        return cls(error.reason, str(error), seq, nonce)


class Rules(Protocol):
    """Who may announce what, as :class:`~.rules.AdmissionRules` and :class:`~.challenge_rules.ChallengeRules` say."""

    def check_sender(self, sender: IPAddress | None) -> None:
        """``PacketError`` unless ``sender`` (None: a unix socket) may send at all."""

    def check(self, announcement: Announcement, sender: IPAddress | None, *, proven: bool) -> None:
        """``PacketError`` unless ``sender`` may say all of ``announcement``."""

    def max_nodes(self, sender: IPAddress | None, *, proven: bool) -> int | None:
        """How many nodes workers there may have; None: as many as the table holds."""


class PacketAuthenticator:
    """Decides which datagrams count.

    ``secret``: what HMACs are checked with; None: nobody can prove anything by HMAC.
    ``signatures``: checks uWSGI's signatures; None: nobody can prove anything by signing.
    ``stamps``: the last stamps of signed packets; the table owns them, as they are part of its snapshot.
    """

    def __init__(
        self,
        rules: Rules,
        secret: bytes | None = None,
        now: float = 0.0,
        signatures: SignatureVerifier | None = None,
        stamps: SignatureStamps | None = None,
    ) -> None:
        self._rules, self._secret, self._signatures = rules, secret, signatures
        self._stamps = SignatureStamps() if stamps is None else stamps
        self._replay_guard = ReplayGuard(now)
        self._limits = RateLimits()

    def drops(self, address: Any, now: float) -> bool:
        """Whether the sender at the UDP ``address`` is over its limit now; a packet with a proof counts all the
        same."""
        cut = self._limits.cut
        return bool(cut) and now < (cut.get(address[:2]) or cut.get(address[0]) or 0.0)

    def session(self, now: float) -> str:
        """The present session, for acks."""
        return self._replay_guard.session(now)

    def authenticate(
        self, datagram: bytes, sender: IPAddress | None, port: int, now: float, wall: float
    ) -> Admitted | AskAgain | Refused:
        """Decide about ``datagram`` from ``sender`` (None: a unix socket) and its ``port``.

        ``now`` is monotonic, ``wall`` seconds since the epoch.
        """
        try:
            if self._secret is not None and has_proof(datagram):
                return self._proven(datagram, self._secret, sender, port, now)
            return self._unproven(datagram, sender, port, now, wall)
        except PacketError as error:
            return Refused.by(error)

    def _proven(
        self, datagram: bytes, secret: bytes, sender: IPAddress | None, port: int, now: float
    ) -> Admitted | AskAgain | Refused:
        if len(datagram) > MAX_PROVEN or not verify(datagram, secret):
            self._charge(datagram, sender, port, now)
            raise PacketError("bad-proof", "its hmac is not of the secret in --subscription-secret-file")
        announcement = _announcement(datagram)
        nonce = announcement.nonce
        try:
            ordered = announcement.instance >= 0
            freshness = self._replay_guard.check(announcement.session, nonce, ordered=ordered, now=now)
        except PacketError as error:
            return Refused.by(error, announcement, nonce)
        if freshness != "fresh":
            self._charge(datagram, sender, port, now)
            if freshness == "again":
                return AskAgain(announcement, nonce)
            # No ack: whoever repeats a packet of somebody else must not have it refused to them.
            raise PacketError("replay", "it was here before, or something newer of its sender was")
        return self._by_rules(announcement, sender, proven=True, nonce=nonce)

    def _unproven(
        self, datagram: bytes, sender: IPAddress | None, port: int, now: float, wall: float
    ) -> Admitted | Refused:
        self._charge(datagram, sender, port, now)
        if not self._may_be_signed(datagram) or not self._limits.allow(None, STRANGERS, now):
            self._rules.check_sender(sender)
        announcement = _announcement(datagram)
        signatures = self._signatures if announcement.signature else None
        try:
            if signatures is None:
                self._rules.check_sender(sender)
            else:
                signatures.verify(datagram, announcement)
                self._stamps.check(announcement, wall)
        except PacketError as error:
            return Refused.by(error, announcement)
        result = self._by_rules(announcement, sender, proven=signatures is not None)
        if signatures is not None and isinstance(result, Admitted):
            self._stamps.remember(announcement, wall)
        return result

    def _by_rules(
        self, announcement: Announcement, sender: IPAddress | None, *, proven: bool, nonce: str = ""
    ) -> Admitted | Refused:
        try:
            self._rules.check(announcement, sender, proven=proven)
        except PacketError as error:
            return Refused.by(error, announcement, nonce)
        return Admitted(announcement, self._rules.max_nodes(sender, proven=proven), nonce)

    def _may_be_signed(self, datagram: bytes) -> bool:
        return self._signatures is not None and len(datagram) <= MAX_PROVEN and _SIGN in datagram

    def _charge(self, datagram: bytes, sender: IPAddress | None, port: int, now: float) -> None:
        if sender is None:
            return
        origin, allowance = ((str(sender), port), LOCAL) if sender.is_loopback else (str(sender), REMOTE)
        if not self._limits.allow(origin, allowance, now, PACKET_COST + len(datagram)):
            raise PacketError("limited", "it sends more than a sender without proof may (docs/security.md)")


def _announcement(datagram: bytes) -> Announcement:
    packet = decode(datagram)
    if isinstance(packet, Ack):
        raise PacketError("malformed", "an ack: routers send these, they don't take them")
    return packet
