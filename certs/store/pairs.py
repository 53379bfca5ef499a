"""The pairs on disk.  One edge.

``DIR/HOST`` is a symbolic link to a folder of its own in ``DIR/.pairs/`` that holds ``fullchain.pem`` and
``privkey.pem``, and, when a CA signed it, an empty file ``valid``.  A new pair is written into a new folder, proven
there, and put in place by renaming a link, so that nobody ever sees half of a pair or none.  The group of new folders
is that of DIR where DIR has the set-group-ID bit.  A ``DIR/HOST`` that is no link of ours is somebody else's.

The folder of ``*.example.com`` is ``_wildcard.example.com``, as a ``*`` in a path is a trap in shells and nginx; beside
it a link is called like the key, for whoever looks for it by that name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from fastroute.certs.decide.hosts import folder_of, host_of_folder, is_host_name
from fastroute.certs.decide.schedule import Certificate
from fastroute.certs.store.handshake import ProofError, prove
from fastroute.certs.store.x509 import CertificateError, Pair, check_pair, read_key

CHAIN_FILE, KEY_FILE, VALID_FILE = "fullchain.pem", "privkey.pem", "valid"
FOLDER_MODE, FILE_MODE = 0o750, 0o640
#: Of a file of a pair, at most.
MAX_FILE = 1 << 20
_PAIRS, _ASIDE = ".pairs", ".aside"


class StoreError(Exception):
    """A pair can't be put in place; the one before stays.  ``disk``: because of the disk, not of the pair."""

    def __init__(self, text: str, *, disk: bool = False) -> None:
        super().__init__(text)
        self.disk = disk


class PairStore:
    """The pairs under ``directory``; ``proof`` is called with a new folder and its host before that is served."""

    def __init__(self, directory: Path, proof: Callable[[Path, str], None] = prove) -> None:
        self.directory, self._prove = directory, proof
        self._pairs = directory / _PAIRS

    def open(self) -> None:
        """Make the directories that are missing."""
        self.directory.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        for folder in (self._pairs, self.directory / _ASIDE):
            if not folder.is_dir():
                _make_folder(folder)

    def scan(self) -> tuple[dict[str, Certificate], dict[str, str]]:
        """The certificates that are there by host, and what is wrong with pairs that can't be served.

        Folders that no link leads to, of a life that ended in the middle, are removed.
        """
        certificates, problems, linked = dict[str, Certificate](), dict[str, str](), set[str]()
        for entry in sorted(self.directory.iterdir()):
            host = host_of_folder(entry.name)
            if entry.name.startswith("."):
                if entry.is_symlink():
                    entry.unlink()
                continue
            if not is_host_name(host) or folder_of(host) != entry.name:
                continue
            try:
                certificates[host] = self._certificate(entry)
            except (CertificateError, OSError) as error:
                problems[host] = (error.strerror or "it can't be read") if isinstance(error, OSError) else str(error)
            if self._ours(entry):
                linked.add(os.readlink(entry))
                self._name_by_key(host)
        linked |= {os.readlink(link).removeprefix("../") for link in (self.directory / _ASIDE).iterdir()}
        for folder in self._pairs.iterdir():
            if f"{_PAIRS}/{folder.name}" not in linked:
                shutil.rmtree(folder, ignore_errors=True)
        return certificates, problems

    def owner(self, host: str) -> str:
        """Whose the pair of ``host`` is: ``ours``, ``theirs``, or empty when nothing is there."""
        link = self.directory / folder_of(host)
        if self._ours(link):
            return "ours"
        return "theirs" if os.path.lexists(link) else ""

    def read(self, host: str) -> Certificate:
        """The certificate that is there; :class:`StoreError` when it can't be served."""
        try:
            return self._certificate(self.directory / folder_of(host))
        except OSError as error:
            raise StoreError(f"it can't be read: {error.strerror}") from None
        except CertificateError as error:
            raise StoreError(str(error)) from None

    def key(self, host: str) -> bytes | None:
        """The private key of the pair of ``host``; None: there is none of ours."""
        link = self.directory / folder_of(host)
        with contextlib.suppress(OSError, CertificateError):
            if self._ours(link):
                pair = _read_pair(link)
                check_pair(pair)
                read_key(pair.key)
                return pair.key
        return None

    def chain(self, host: str) -> bytes:
        """The certificate of ``host`` with its chain; empty when it can't be read."""
        with contextlib.suppress(OSError):
            return _read(self.directory / folder_of(host) / CHAIN_FILE)
        return b""

    def install(self, host: str, pair: Pair) -> Certificate:
        """Serve ``pair`` from now on; :class:`StoreError` when that can't be, and nothing changes."""
        link = self.directory / folder_of(host)
        if os.path.lexists(link) and not self._ours(link):
            raise StoreError(f"{link} is no link of ours, so it is left alone")
        folder = self._pairs / f"{folder_of(host)}.{secrets.token_hex(6)}"
        temporary = self.directory / f".{folder_of(host)}.{secrets.token_hex(6)}"
        try:
            certificate = check_pair(pair)
            before = os.readlink(link) if link.is_symlink() else ""
            # A stand-in of our own where nothing is: there may be thousands, and another one is soon made.
            stand_in = certificate.self_signed and not before
            _write_pair(folder, pair, valid=not certificate.self_signed, sync=not stand_in)
            if not stand_in:
                self._prove(folder, host)
            temporary.symlink_to(f"{_PAIRS}/{folder.name}")
            temporary.rename(link)
            self._name_by_key(host)
            if not stand_in:
                _sync(self.directory)
        except (OSError, CertificateError, ProofError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if not (link.is_symlink() and os.readlink(link) == f"{_PAIRS}/{folder.name}"):
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise StoreError(f"{link}: the new pair can't be written: {error.strerror}", disk=True) from None
            raise StoreError(str(error)) from None
        if before:
            shutil.rmtree(self.directory / before, ignore_errors=True)
        return certificate

    def remove(self, host: str) -> None:
        """Serve nothing for ``host`` any more, if what is there is ours."""
        link = self.directory / folder_of(host)
        if self._ours(link):
            target = self.directory / os.readlink(link)
            link.unlink()
            self._unname(host)
            shutil.rmtree(target, ignore_errors=True)

    def put_aside(self, host: str) -> None:
        """Serve nothing for ``host``, but keep its pair for :meth:`take_back`."""
        link = self.directory / folder_of(host)
        if self._ours(link):
            aside = self.directory / _ASIDE / link.name
            aside.unlink(missing_ok=True)
            aside.symlink_to(f"../{os.readlink(link)}")
            link.unlink()
            self._unname(host)

    def take_back(self, host: str) -> Certificate | None:
        """Serve again what was put aside for ``host``; None: nothing that can be served was."""
        aside = self.directory / _ASIDE / folder_of(host)
        if not aside.is_symlink():
            return None
        try:
            certificate = check_pair(_read_pair(aside))
            link = self.directory / folder_of(host)
            if not os.path.lexists(link):
                link.symlink_to(os.readlink(aside).removeprefix("../"))
                self._name_by_key(host)
        except (OSError, CertificateError):
            certificate = None
        aside.unlink(missing_ok=True)
        return certificate

    def _name_by_key(self, host: str) -> None:
        """See that ``DIR/*.example.com`` leads to the folder of that wildcard; what somebody put there stays."""
        by_key = self.directory / host
        if by_key.name != folder_of(host) and not os.path.lexists(by_key):
            with contextlib.suppress(OSError):
                by_key.symlink_to(folder_of(host))

    def _unname(self, host: str) -> None:
        by_key = self.directory / host
        if by_key.name != folder_of(host) and by_key.is_symlink() and os.readlink(by_key) == folder_of(host):
            by_key.unlink()

    def _ours(self, link: Path) -> bool:
        return link.is_symlink() and os.readlink(link).startswith(f"{_PAIRS}/")

    def _certificate(self, entry: Path) -> Certificate:
        return check_pair(_read_pair(entry), foreign=not self._ours(entry))


def _read_pair(folder: Path) -> Pair:
    return Pair(_read(folder / CHAIN_FILE), _read(folder / KEY_FILE))


def _read(path: Path) -> bytes:
    with path.open("rb") as opened:
        data = opened.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise CertificateError(f"over {MAX_FILE:,} bytes")
    return data


def _make_folder(folder: Path) -> None:
    folder.mkdir(FOLDER_MODE)
    mode = folder.stat().st_mode & 0o7777
    if mode & 0o777 != FOLDER_MODE:
        # The umask took something away; the set-group-ID bit, which DIR handed on, stays.
        folder.chmod(mode & 0o7000 | FOLDER_MODE)


def _write_pair(folder: Path, pair: Pair, *, valid: bool, sync: bool) -> None:
    _make_folder(folder)
    for name, data in ((KEY_FILE, pair.key), (CHAIN_FILE, pair.chain), *(((VALID_FILE, b""),) if valid else ())):
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        with open(fd, "wb") as opened:
            os.fchmod(fd, FILE_MODE)
            opened.write(data)
            opened.flush()
            if sync:
                os.fsync(fd)
    if sync:
        _sync(folder)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
