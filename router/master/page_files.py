"""Reads the files of ``--error-pages`` into a memory file that the relays map.  One edge.

It is read at the start and at SIGHUP, by the user that the router has become.  A file that can't be used is said and
left out: the router answers with its text then.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from itertools import islice

from fastroute.router.config.configuration import did_you_mean, shown
from fastroute.router.config.error_pages import MAX_PAGE, PAGE_NAMES, PageBlock, folder_key
from fastroute.router.protocol.key import KeyProblem
from fastroute.router.runtime.logs import get_logger

#: Entries of a directory that are looked at.
MAX_ENTRIES = 20_000
#: Problems that are said one by one.
MAX_SAID = 20
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL

log = get_logger("fastroute.master")


class PageFile:
    """The pages as they were read once, in a memory file that nobody can change."""

    def __init__(self, data: bytes) -> None:
        self.digest = _digest(data)
        self.fd = os.memfd_create("fastroute-pages", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(os.dup(self.fd), "wb") as file:
            file.write(data)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)

    def close(self) -> None:
        """Relays that have mapped the pages keep them."""
        os.close(self.fd)


def read_pages(directory: str | None, before: PageFile | None) -> PageFile | None:
    """The pages in ``directory``: those ``before`` if nothing changed.  None: there is no such directory."""
    if directory is None:
        return None
    block, problems = PageBlock(), _Problems()
    names = _entries(directory, problems)
    _read_folder(directory, names, "", block, problems)
    for folder, key in _folders(directory, names, problems):
        _read_folder(folder, _entries(folder, problems), key, block, problems)
    problems.end()
    keys = {key for key, _ in block.index if key}
    log.info("error-pages: %d pages read, those of %d keys among them", len(block.index), len(keys))
    data = block.to_bytes()
    return before if before is not None and before.digest == _digest(data) else PageFile(data)


class _Problems:
    """Logs what can't be used, up to a number."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, path: str, problem: str, consequence: str) -> None:
        self._count += 1
        if self._count <= MAX_SAID:
            log.warning("error-pages: %s: %s; %s", path, problem, consequence)

    def end(self) -> None:
        if self._count > MAX_SAID:
            log.warning("error-pages: %d more problems like these", self._count - MAX_SAID)


def _entries(directory: str, problems: _Problems) -> list[str]:
    """The names in ``directory``, sorted, but for hidden ones."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
    except OSError as error:
        problems.add(directory, f"cannot be read: {error.strerror}", "no page of it is used")
        return []
    if len(names) > MAX_ENTRIES:
        problems.add(directory, f"has more than {MAX_ENTRIES} entries", "some of them are not looked at")
        names.pop()
    return sorted(name for name in names if not name.startswith("."))


def _folders(directory: str, names: list[str], problems: _Problems) -> Iterator[tuple[str, str]]:
    """Each folder of ``directory`` that is named for a key, and that key."""
    seen: dict[str, str] = {}
    for name in names:
        path = os.path.join(directory, name)
        if not os.path.isdir(path):
            continue
        try:
            key = folder_key(name)
        except KeyProblem as problem:
            problems.add(path, str(problem), "no page of it is used")
            continue
        if other := seen.get(key):
            problems.add(path, f"{shown(other)} is the folder of the same key", "no page of this one is used")
            continue
        seen[key] = name
        yield path, key


def _read_folder(directory: str, names: list[str], key: str, block: PageBlock, problems: _Problems) -> None:
    for name in names:
        path = os.path.join(directory, name)
        if name in PAGE_NAMES:
            problem = _read_page(path, key, name, block)
            if problem:
                problems.add(path, problem, "the router's text is sent instead")
        elif name.endswith(".html"):
            expected = f"no page has this name: {', '.join(PAGE_NAMES)} expected{did_you_mean(name, PAGE_NAMES)}"
            problems.add(path, expected, "it is ignored")


def _read_page(path: str, key: str, name: str, block: PageBlock) -> str:
    """Add one page to the ``block``; returns why it can't be, empty if it was."""
    try:
        # A pipe in the place of a file must not hold up the master.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return "is no file"
        with open(fd, "rb") as file:
            page = file.read(MAX_PAGE + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return block.add(key, name, page)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
