"""How keys are called in nginx: the host that a server answers to, its port and path, names of files.  Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

#: File names may have 255 bytes (NAME_MAX); suffixes need room.
_MAX_FILE_NAME = 200


class Unservable(ValueError):
    """nginx can't serve this key; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A key in its parts: ``host`` (a name, ``*.name`` or ``[v6]``), ``port`` ("" for any), ``path`` ("" for all)."""

    host: str
    port: str
    path: str

    @property
    def authority(self) -> str:
        """Host and port, as in a key."""
        return f"{self.host}:{self.port}" if self.port else self.host


def site_of(key: str) -> Site:
    """The parts of ``key``; ``Unservable`` if nginx would never see a request for it."""
    authority, slash, path = key.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit():
        host, port = authority, ""
    path = slash + path
    if re.search(r"//|/\.{1,2}(/|$)", path):
        raise Unservable("nginx resolves //, /. and /.. in paths before it looks, so that no request has such a path")
    return Site(host, port, path)


def file_name(key: str) -> str:
    """``key`` as the name of a file, without suffix: itself where it can be, else in percent-encoding (``%2A.foo.com``,
    ``foo.com%2Fapi``)."""
    name = quote(key, safe="")
    if len(name) <= _MAX_FILE_NAME:
        return name
    return f"{name[:_MAX_FILE_NAME]}-{_digest(key)}"


def upstream_name(key: str) -> str:
    """The name of the key's ``upstream``: ``fastroute.`` keeps it apart from yours; nginx does not tell case apart."""
    name = f"fastroute.{file_name(key)}"
    return name if key == key.lower() else f"{name}-{_digest(key)}"


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
