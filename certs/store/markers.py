"""Empty files that tell nginx, which knows no labels, what to do for a host with a valid certificate.  One edge.

``DIR/.redirect/FOLDER``: HTTP is redirected to HTTPS.  ``DIR/.hsts-SECONDS/FOLDER``: browsers use HTTPS only, so long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fastroute.certs.decide.hosts import HostTls, folder_of
from fastroute.router.protocol.node_options import HSTS_AGES

REDIRECT = ".redirect"


class HostMarkers:
    """The marks under ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: What is there, as folder of marks and name; None: not known.
        self._there: set[tuple[str, str]] | None = None

    def follow(self, valid: Mapping[str, HostTls]) -> None:
        """Have the marks of these hosts, whose certificates are valid, and no others; ``OSError`` if that can't be."""
        if self._there is None:
            self._there = self._read()
        wanted = {mark for host, tls in valid.items() for mark in _marks(host, tls)}
        if wanted == self._there:
            return
        for kind, name in self._there - wanted:
            (self._directory / kind / name).unlink(missing_ok=True)
            self._there.discard((kind, name))
        for kind, name in wanted - self._there:
            (self._directory / kind).mkdir(0o750, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(self._directory / kind / name, flags, 0o640))
            self._there.add((kind, name))

    def _read(self) -> set[tuple[str, str]]:
        kinds = (REDIRECT, *(_hsts(age) for age in HSTS_AGES if age))
        folders = (self._directory / kind for kind in kinds)
        return {(folder.name, mark.name) for folder in folders if folder.is_dir() for mark in folder.iterdir()}


def _marks(host: str, tls: HostTls) -> list[tuple[str, str]]:
    name = folder_of(host)
    return [*([(REDIRECT, name)] if tls.mode == "redirect" else []), *([(_hsts(tls.hsts), name)] if tls.hsts else [])]


def _hsts(age: int) -> str:
    return f".hsts-{age}"
