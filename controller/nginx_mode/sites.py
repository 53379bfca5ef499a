"""Which key answers where: servers by host name, and in each the paths.  Pure; the order of the router's own search.

The router looks for host with port before host, longest path before the host itself, exact names before wildcards and
long wildcards before short ones.  nginx chooses a server by host name alone and then a location, so what may follow
(a wildcard's key where the host itself has only paths) is worked out here, once, for each server and path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastroute.controller.nginx_mode.names import site_of
from fastroute.router.protocol.key import wildcards

#: Each port of a host is a block in each of its locations, which costs nginx memory and time: a host has at most so
#: many blocks, or so many ports, whichever is more.
MAX_BLOCKS, MIN_PORTS = 64, 4


@dataclass(frozen=True, slots=True)
class Location:
    """What answers below a path."""

    #: The path; "" is the root.
    path: str
    #: The key that answers; None: none does.
    key: str | None
    #: The other keys, by the port in the Host header of their requests.
    ports: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """An nginx ``server`` block."""

    #: The host name that it answers to.
    host: str
    #: Its locations, the root first.
    locations: tuple[Location, ...]
    #: Keys of the host whose ports are too many.
    left_out: tuple[str, ...] = ()


def server_blocks(keys: Iterable[str]) -> list[ServerBlock]:
    """The servers that ``keys`` need, by host name."""
    index: dict[str, dict[str, str]] = {}
    ports: dict[str, set[str]] = {}
    for key in keys:
        site = site_of(key)
        index.setdefault(site.authority, {})[site.path] = key
        ports.setdefault(site.host, set()).update([site.port] if site.port else [])
    return [_server_block(host, index, ports) for host in sorted(ports)]


def _server_block(host: str, index: dict[str, dict[str, str]], ports: dict[str, set[str]]) -> ServerBlock:
    names = [name for name in _names(host) if name in ports]
    seen = sorted({port for name in names for port in ports[name]}, key=int)
    paths = {""}
    for name in names:
        for authority in (name, *(f"{name}:{port}" for port in seen)):
            paths.update(index.get(authority, {}))
    most = max(MIN_PORTS, MAX_BLOCKS // len(paths))
    seen, rest = seen[:most], seen[most:]
    left_out = tuple(key for port in rest for key in index.get(f"{host}:{port}", {}).values())
    locations = []
    for path in sorted(paths):
        key = _find(names, "", path, index)
        others = ((port, _find(names, port, path, index)) for port in seen)
        locations.append(Location(path, key, tuple((port, other) for port, other in others if other and other != key)))
    return ServerBlock(
        host, tuple(location for location in locations if not location.path or location.key or location.ports), left_out
    )


def _names(host: str) -> list[str]:
    """``host`` and the wildcards that match the same requests, in the order of the search."""
    return list(dict.fromkeys([host, *(name.decode() for name in wildcards(host.encode()))]))


def _find(names: list[str], port: str, path: str, index: dict[str, dict[str, str]]) -> str | None:
    for name in names:
        for authority in (f"{name}:{port}", name) if port else (name,):
            keys = index.get(authority, {})
            for prefix in _prefixes(path):
                if prefix in keys:
                    return keys[prefix]
    return None


def _prefixes(path: str) -> Iterator[str]:
    """``/a/b``, ``/a`` and the root for ``/a/b``."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""
