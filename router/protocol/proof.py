"""Proof that a packet comes from somebody who has the secret, and was made for the router's present.  Standard library.

Every proven packet ends with the pairs ``session``, ``nonce`` and ``hmac`` (docs/reference/wire.md, "Proof"): the
HMAC-SHA256 is over the whole packet, header included, up to the last pair.  No clock decides what is fresh:

* ``session`` is a random name of the router's present, told in its acks and replaced every minute; what was made for
  another router, or for another life of this one, is answered ``again`` and changes nothing;
* ``nonce`` is the announcer's own random prefix and a counter: within a session, no packet counts twice;
* an ack repeats the nonce of the packet that it answers, and is proven the same way: it is believed once, and only by
  whoever sent that packet.

An announcer needs one :class:`Prover` for each router address.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat

from fastroute.router.protocol.subscription import Ack, decode_ack
from fastroute.router.protocol.wire import HEADER_SIZE, append_vars, encode_vars

#: Bytes of the secret, blanks around it not counted: 128 bits is what no guessing reaches (NIST SP 800-107, 5.3.4
#: asks for half the hash's size at least).
MIN_SECRET = 16
#: More is no secret but the wrong file.
MAX_SECRET = 4096

SESSION_SIZE = 16
NONCE_SIZE = 32
_MAC_SIZE = 32
_PAIR_WITHOUT_MAC = encode_vars([(b"hmac", bytes(_MAC_SIZE))])
_PAIR_SIZE = len(_PAIR_WITHOUT_MAC)
_PAIR_HEAD = _PAIR_WITHOUT_MAC[:-_MAC_SIZE]
#: What a proof adds to a packet at most: batches leave this much room.
PROOF_SIZE = len(encode_vars([(b"session", b"0" * SESSION_SIZE), (b"nonce", b"0" * NONCE_SIZE)])) + _PAIR_SIZE
#: Packets whose acks are still believed: more than any window, and than a slow router can owe.
_OUTSTANDING = 4096


class SecretError(ValueError):
    """A secret file that can't be used; the text names it and says why."""


def read_secret(path: str) -> bytes:
    """The secret in the file ``path``, without the blanks around it.  ``SecretError`` when it is none."""
    try:
        with open(path, "rb") as opened:
            secret = opened.read(MAX_SECRET + 1).strip()
    except OSError as error:
        raise SecretError(f"{path!r}: the secret can't be read: {error.strerror}") from None
    if not secret:
        raise SecretError(f"{path!r} is empty: a secret of at least {MIN_SECRET} bytes expected")
    if len(secret) < MIN_SECRET:
        text = f"{path!r}: a secret of {len(secret)} bytes can be guessed; at least {MIN_SECRET} expected"
        raise SecretError(f"{text} (openssl rand -hex 32 makes one)")
    if len(secret) > MAX_SECRET:
        raise SecretError(f"{path!r}: a secret of at most {MAX_SECRET} bytes expected")
    return secret


def exposure(path: str) -> str:
    """What is to be said of who else can read (or write) the secret file; empty when nothing is."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return ""
    if mode & 0o007:
        return f"{path!r} has mode {mode:04o}: every user of this machine may take the secret; chmod o= {path!r}"
    return ""


def sign(packet: bytes, secret: bytes) -> bytes:
    """``packet`` with its ``hmac`` as last pair."""
    signed = append_vars(packet, [(b"hmac", bytes(_MAC_SIZE))])[:-_PAIR_SIZE]
    return signed + _PAIR_HEAD + hmac.digest(secret, signed, "sha256")


def has_proof(packet: bytes | memoryview) -> bool:
    """Whether ``packet`` ends with an ``hmac``, right or wrong."""
    return packet[-_PAIR_SIZE:-_MAC_SIZE] == _PAIR_HEAD and len(packet) >= HEADER_SIZE + _PAIR_SIZE


def verify(packet: bytes, secret: bytes) -> bool:
    """Whether ``packet`` was signed with ``secret``."""
    right = hmac.digest(secret, packet[:-_PAIR_SIZE], "sha256")
    return has_proof(packet) and hmac.compare_digest(right, packet[-_MAC_SIZE:])


def sign_ack(packet: bytes, secret: bytes, session: str, nonce: str) -> bytes:
    """The ack ``packet``, proven to whoever sent the packet with ``nonce``, and telling the present ``session``."""
    return sign(append_vars(packet, [(b"session", session.encode()), (b"nonce", nonce.encode())]), secret)


class Prover:
    """An announcer's half: proves its packets to one router address, and believes that router's acks only."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self._session = ""
        self._outstanding: dict[str, None] = {}
        self.unproven = 0
        """Acks that were not believed."""

    def seal(self, packet: bytes) -> bytes:
        """``packet`` with a proof.  Call it anew each time that a packet is sent, repeated ones included."""
        self._count += 1
        nonce = f"{self._prefix}{self._count:016x}"
        self._outstanding[nonce] = None
        if len(self._outstanding) > _OUTSTANDING:
            del self._outstanding[next(iter(self._outstanding))]
        session = [(b"session", self._session.encode())] if self._session else []
        return sign(append_vars(packet, [*session, (b"nonce", nonce.encode())]), self._secret)

    def open(self, datagram: bytes) -> Ack | None:
        """The ack that ``datagram`` is; None unless it is proven and answers a packet that is not answered yet.

        One with the result ``again`` asks for the same packet once more: the session was not (or no longer) known.
        """
        ack = decode_ack(datagram) if verify(datagram, self._secret) else None
        if ack is None or ack.nonce not in self._outstanding:
            self.unproven += 1
            return None
        del self._outstanding[ack.nonce]
        self._session = ack.session
        return ack
