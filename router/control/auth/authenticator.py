"""The way of a datagram into the table: rate, proof, decoding, rules.  Pure; docs/security.md is written from this.

The cheap tests come first, so that those who may say nothing cost little: an HMAC takes 3 us, decoding ten times that,
a signature twenty.  Whoever has the secret is held to no rate; a proof that is wrong is held to the sender's, as is a
repeated one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastroute.router.control.auth.rate_limit import LOCAL, PACKET, REMOTE, STRANGERS, RateLimits
from fastroute.router.control.auth.replay_guard import ReplayGuard
from fastroute.router.control.auth.rules import AdmissionRules, IPAddress
from fastroute.router.control.auth.signatures import SignatureStamps, SignatureVerifier
from fastroute.router.proof import has_proof, verify
from fastroute.router.subscription import Ack, Announcement, PacketError, decode

#: Proven packets over UDP are batches of 1,400 bytes at most (uWSGI's, 4,096): to look for a proof in 64 KiB of a
#: stranger would cost 50 times that.
MAX_PROVEN = 8_192
#: What no signed packet is without.
_SIGN = b"\x04\x00sign"


@dataclass(slots=True)
class Letter:
    """One datagram and what came of it: an ``announcement`` to be applied, or ``refused``, or ``again``: it is proven,
    but for another session, and who sent it is to be told this one.  ``proven``: by secret or signature; ``nonce`` is
    the secret's."""

    announcement: Announcement | None = None
    nonce: str = ""
    proven: bool = False
    again: bool = False
    refused: PacketError | None = None


class PacketAuthenticator:
    """Judges datagrams.  ``secret`` None: nobody can prove anything by HMAC; ``signatures`` None: nor by signing.
    ``stamps`` is kept by whoever keeps the table."""

    def __init__(
        self,
        rules: AdmissionRules,
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
        """Whether what comes from the UDP ``address`` just now is over its sender's limit, unless it has a proof."""
        cut = self._limits.cut
        return bool(cut) and now < (cut.get(address[:2]) or cut.get(address[0]) or 0.0)

    def session(self, now: float) -> str:
        """The present session, for acks."""
        return self._replay_guard.session(now)

    def open(self, datagram: bytes, sender: IPAddress | None, port: int, now: float, wall: float) -> Letter:
        """What ``datagram`` from ``sender`` (None: a unix socket) and its ``port`` comes to; ``now`` is monotonic,
        ``wall`` seconds since the epoch."""
        letter = Letter()
        try:
            self._open(letter, datagram, sender, port, now, wall)
        except PacketError as error:
            if letter.announcement is not None and letter.announcement.ack:
                error.seq = letter.announcement.seq
            letter.refused, letter.announcement = error, None
        return letter

    def _open(
        self, letter: Letter, datagram: bytes, sender: IPAddress | None, port: int, now: float, wall: float
    ) -> None:
        proven = self._secret is not None and has_proof(datagram)
        if proven and not (len(datagram) <= MAX_PROVEN and verify(datagram, self._secret or b"")):
            self._charge(datagram, sender, port, now)
            raise PacketError("bad-proof", "its hmac is not of the secret in --subscription-secret-file")
        if not proven:
            self._charge(datagram, sender, port, now)
            if not self._may_be_signed(datagram) or not self._limits.allow(None, STRANGERS, now):
                self._rules.check_sender(sender)
        said = decode(datagram)
        if isinstance(said, Ack):
            raise PacketError("malformed", "an ack: routers send these, they don't take them")
        letter.announcement = said
        if proven:
            letter.nonce, letter.proven = said.nonce, True
            verdict = self._replay_guard.judge(said.session, said.nonce, ordered=said.instance >= 0, now=now)
            if verdict != "fresh":
                # No ack: whoever repeats a packet of somebody else must not have it refused to them.
                letter.announcement = None
                self._charge(datagram, sender, port, now)
                if verdict == "replay":
                    raise PacketError("replay", "it was here before, or something newer of its sender was")
                letter.announcement, letter.again = said, True
                return
        elif said.signature and self._signatures is not None:
            self._signatures.verify(datagram, said)
            self._stamps.check(said, wall)
            self._rules.check(said, sender, proven=True)
            self._stamps.remember(said, wall)
            letter.proven = True
            return
        else:
            self._rules.check_sender(sender)
        self._rules.check(said, sender, proven=proven)

    def _may_be_signed(self, datagram: bytes) -> bool:
        return self._signatures is not None and len(datagram) <= MAX_PROVEN and _SIGN in datagram

    def _charge(self, datagram: bytes, sender: IPAddress | None, port: int, now: float) -> None:
        if sender is None:
            return
        who, allowance = ((str(sender), port), LOCAL) if sender.is_loopback else (str(sender), REMOTE)
        if not self._limits.allow(who, allowance, now, PACKET + len(datagram)):
            raise PacketError("limited", "it sends more than a sender without proof may (docs/security.md)")
