"""Which hosts want a certificate: the host parts of the keys with a ready node, as a status shows them.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: Where a CA asks for the answer to its HTTP challenge (RFC 8555, 8.3).
CHALLENGE_PATH = "/.well-known/acme-challenge"
#: What the folder of ``*.example.com`` begins with: ``_wildcard.example.com``.
WILDCARD_PREFIX = "_wildcard."
#: Hosts at once: keys are announced by many, and each host costs a folder.
MAX_HOSTS = 20_000
MAX_NAME = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
#: No public CA signs names under these (RFC 2606, 6761, 6762, 7686, 9476).
_RESERVED = frozenset({"alt", "example", "internal", "invalid", "lan", "local", "localhost", "onion", "test"})
_PUBLIC_CAS = ("letsencrypt.org", "zerossl.com", "pki.goog", "ssl.com", "buypass.com")


@dataclass(slots=True)
class StatusHosts:
    """What one status says."""

    #: Hosts with a ready node, and with the label that is asked for.
    wanted: set[str] = field(default_factory=set)
    #: Hosts whose every key says ``fastroute.tls: off``.
    off: set[str] = field(default_factory=set)


def hosts_in_status(status: object, *, labelled: bool) -> StatusHosts:
    """The hosts of ``status``, the object of ``GET /v1/status``; what is no status wants nothing."""
    found = StatusHosts()
    for key, ready, tls in _keys(status):
        host = host_of_key(key)
        if not host or not ready:
            continue
        if tls == "off":
            found.off.add(host)
        elif tls or not labelled:
            found.wanted.add(host)
    found.off -= found.wanted
    return found


def _keys(status: object) -> Iterator[tuple[str, bool, str]]:
    rows = status.get("keys") if isinstance(status, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or not isinstance(row.get("key"), str):
            continue
        tls = row.get("tls")
        yield row["key"], _has_ready_node(row), tls if isinstance(tls, str) else ""


def _has_ready_node(row: dict[str, Any]) -> bool:
    nodes = row.get("nodes")
    if not isinstance(nodes, list):
        return bool(row.get("ready"))
    return any(isinstance(node, dict) and node.get("state") == "ready" for node in nodes)


def host_of_key(key: str) -> str:
    """The host that a certificate of ``key`` is for; empty when it has none: an IP, our own challenge, no host name."""
    host, slash, path = key.partition("/")
    if f"{slash}{path}".startswith(CHALLENGE_PATH):
        return ""
    name, colon, port = host.rpartition(":")
    host = name if colon and port.isdigit() else host
    return host if is_host_name(host) else ""


def is_host_name(host: str) -> bool:
    """Whether ``host`` can stand in a certificate, and be the name of a folder."""
    if len(host) > MAX_NAME or not _NAME.fullmatch(host) or host.startswith(WILDCARD_PREFIX):
        return False
    return not host.rpartition(".")[2].isdigit()


def folder_of(host: str) -> str:
    """The name of the folder of ``host``."""
    return WILDCARD_PREFIX + host[2:] if host.startswith("*.") else host


def host_of_folder(folder: str) -> str:
    """The host whose folder that is."""
    return f"*.{folder.removeprefix(WILDCARD_PREFIX)}" if folder.startswith(WILDCARD_PREFIX) else folder


def refuse_to_ask(host: str, directory: str, *, dns_hook: bool) -> str:
    """Why no CA is asked for ``host``; empty when it may be."""
    if host.startswith("*.") and not dns_hook:
        return "a wildcard is proven by DNS alone, which needs --dns-hook"
    if "." not in host.removeprefix("*."):
        return "no CA signs a name without a dot"
    authority = directory.partition("://")[2].partition("/")[0].partition(":")[0]
    public = any(authority == ca or authority.endswith(f".{ca}") for ca in _PUBLIC_CAS)
    if public and host.rpartition(".")[2] in _RESERVED:
        return f"no public CA signs names under .{host.rpartition('.')[2]}"
    return ""
