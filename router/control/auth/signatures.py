"""uWSGI's signed subscriptions: checks the signature, and rejects packets that were recorded.  docs/reference/wire.md,
"Signature".

As the original does it: RSA PKCS #1 v1.5 over all pairs before ``sign``, with the public key ``DIR/KEY.pem``; but KEY
is percent-encoded, where the original's ``_`` for each other byte makes ``a.b:80``, ``a.b/80`` and ``a.b_80`` one file,
and whoever holds the private key of one of them the master of all.

The header is not covered, and with it modifier2, which makes a join a leave; so what the original leaves open is closed
here by rules on the stamp (``unix``, seconds; a leave of uWSGI's carries the next second):

* of one node, a stamp older than the last one is refused, and so is a packet that was here before.  An equal stamp with
  another signature is another packet of the same second;
* a leave counts only with a stamp that is newer than all joins', so that no join that arrived can be made a leave;
* a stamp more than ``STAMP_TOLERANCE`` from our clock is refused.  What is remembered ends there too.

The library that verifies is imported when it is needed: nobody else pays for it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastroute.router.protocol.subscription import Announcement, Entry, PacketError

#: Seconds between a worker's clock and ours, as Kerberos takes them (RFC 4120, 3.1.3); the original takes a day.
STAMP_TOLERANCE = 300
#: Packets of one node within one second; uWSGI sends one.
_MAX_PER_SECOND = 16
#: Nodes that are remembered; the one silent for longest is forgotten first.
MAX_NODES = 200_000
#: Key files that are kept read.
_MAX_KEYS = 1_024

NodeName = tuple[str, str]


class SignatureStamps:
    """The last stamp of each node, key and address as announced, with what was signed for that second.  Pure."""

    def __init__(self) -> None:
        self._last: OrderedDict[NodeName, tuple[int, tuple[str, ...]]] = OrderedDict()

    def check(self, announcement: Announcement, wall: float) -> None:
        """``PacketError`` unless the packet is newer than what was remembered; ``wall``: seconds since the epoch."""
        entry, stamp = announcement.entries[0], announcement.stamp
        if abs(stamp - wall) > STAMP_TOLERANCE + 1:
            text = f"unix={stamp} is {abs(stamp - wall):.0f} s {'ahead of' if stamp > wall else 'behind'} our clock"
            raise PacketError("bad-stamp", f"{text}, at most {STAMP_TOLERANCE} are taken")
        last, signatures = self._last.get(_name(entry), (0, ()))
        if stamp < last or (stamp == last and (entry.gone or _short(announcement) in signatures)):
            raise PacketError("replay", f"unix={stamp}: it was here before, or something newer of {entry.address} was")

    def remember(self, announcement: Announcement, wall: float) -> None:
        """The packet counted.  A leave of what was never there says nothing about a node."""
        entry, stamp = announcement.entries[0], announcement.stamp
        name = _name(entry)
        last, signatures = self._last.pop(name, (0, ()))
        if entry.gone and not last:
            return
        kept = signatures if stamp == last else ()
        self._last[name] = stamp, (*kept, _short(announcement))[-_MAX_PER_SECOND:]
        while self._last:
            oldest = next(iter(self._last))
            if len(self._last) <= MAX_NODES and self._last[oldest][0] >= wall - STAMP_TOLERANCE - 1:
                break
            del self._last[oldest]

    def rows(self) -> list[list[Any]]:
        """All of it, for the snapshot."""
        return [[*name, stamp, list(signatures)] for name, (stamp, signatures) in self._last.items()]

    def restore(self, rows: Iterable[list[Any]]) -> None:
        """What :meth:`rows` said."""
        for key, address, stamp, signatures in rows:
            self._last[str(key), str(address)] = int(stamp), tuple(map(str, signatures))


class SignatureVerifier:
    """Verifies with the keys in ``directory``; ``digest`` is one of ``options.DIGESTS``."""

    def __init__(self, digest: str, directory: str) -> None:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        self._digest = getattr(hashes, digest.upper())()
        self._padding = padding.PKCS1v15()
        self._directory = Path(directory)
        self._keys: OrderedDict[Path, tuple[tuple[int, int, int], Any]] = OrderedDict()

    def verify(self, datagram: bytes, announcement: Announcement) -> None:
        """``PacketError`` unless the key of the announced node signed ``datagram``: one node, and no controller."""
        from cryptography.exceptions import InvalidSignature

        if announcement.source or announcement.op != "nodes" or len(announcement.entries) != 1:
            raise PacketError("untrusted", "a signature covers one node that a worker announces itself")
        key = announcement.entries[0].key
        signed = datagram[4 : -(8 + len(announcement.signature))]
        try:
            self._key(key).verify(announcement.signature, signed, self._padding, self._digest)
        except InvalidSignature:
            raise PacketError("bad-signature", f"not signed with the private key of {self._file(key)}") from None

    def _file(self, key: str) -> Path:
        return self._directory / f"{quote(key, safe='', errors='surrogateescape')}.pem"

    def _key(self, key: str) -> Any:
        file = self._file(key)
        try:
            info = os.stat(file)
            as_of = info.st_mtime_ns, info.st_size, info.st_ino
            if file not in self._keys or self._keys[file][0] != as_of:
                self._keys[file] = as_of, _read(file)
                if len(self._keys) > _MAX_KEYS:
                    self._keys.popitem(last=False)
        except OSError as error:
            raise PacketError("no-key", f"no public key for {key!r}: {file}: {error.strerror}") from None
        return self._keys[file][1]


def _read(file: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise PacketError("no-key", f"{file} is no RSA public key in PEM (openssl rsa -pubout makes one)")
    return key


def _name(entry: Entry) -> NodeName:
    return entry.key, entry.address


def _short(announcement: Announcement) -> str:
    """16 bytes identify a signature; nobody can make two that begin with the same ones."""
    return announcement.signature[:16].hex()
