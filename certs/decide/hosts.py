"""Which hosts want a certificate: the host parts of the keys with a ready node, as a status shows them.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastroute.router.protocol.node_options import HSTS_AGES

#: Where a CA asks for the answer to its HTTP challenge (RFC 8555, 8.3).
CHALLENGE_PATH = "/.well-known/acme-challenge"
#: What the folder of ``*.example.com`` begins with: ``_wildcard.example.com``.
WILDCARD_PREFIX = "_wildcard."
#: The name by which people look at a new router on their own machine: it has a self-signed certificate of its own.
LOCALHOST = "localhost"
#: Hosts at once: keys are announced by many, and each host costs a folder.
MAX_HOSTS = 20_000
MAX_NAME = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
#: No public CA signs names under these (RFC 2606, 6761, 6762, 7686, 9476).
_RESERVED = frozenset({"alt", "example", "internal", "invalid", "lan", "local", "localhost", "onion", "test"})
_PUBLIC_CAS = ("letsencrypt.org", "zerossl.com", "pki.goog", "ssl.com", "buypass.com")


@dataclass(frozen=True, slots=True)
class HostTls:
    """What the keys of one host say of its HTTPS."""

    #: ``auto``, ``off`` or ``redirect``.
    mode: str = "auto"
    #: Somebody said so by a label.
    labelled: bool = False
    #: Seconds for which browsers use HTTPS only; 0: nothing is said.
    hsts: int = 0


_AUTO = HostTls()
Hosts = Mapping[str, HostTls]


def hosts_in_status(status: object) -> dict[str, HostTls]:
    """The hosts with a ready node in ``status``, the object of ``GET /v1/status``; what is no status has none.

    The host's own key decides; where there is none, its keys with a port or a path are merged.
    """
    own, others = dict[str, HostTls](), dict[str, list[HostTls]]()
    rows = status.get("keys") if isinstance(status, dict) else None
    for row in rows if isinstance(rows, list) else []:
        key = row.get("key") if isinstance(row, dict) else None
        host = host_of_key(key) if isinstance(key, str) else ""
        if not host or not _has_ready_node(row):
            continue
        if key == host:
            own[host] = _tls_of(row)
        else:
            others.setdefault(host, []).append(_tls_of(row))
    return {host: _merged(settings) for host, settings in others.items()} | own


def merged_hosts(answers: Iterable[Hosts]) -> dict[str, HostTls]:
    """What several routers and controllers say, where labels are stronger than none."""
    by_host = dict[str, list[HostTls]]()
    for answer in answers:
        for host, tls in answer.items():
            by_host.setdefault(host, []).append(tls)
    return {host: settings[0] if len(settings) == 1 else _merged(settings) for host, settings in by_host.items()}


def _merged(settings: Sequence[HostTls]) -> HostTls:
    labelled = [tls for tls in settings if tls.labelled] or settings
    modes = {tls.mode for tls in labelled}
    mode = "redirect" if "redirect" in modes else "off" if modes == {"off"} else "auto"
    return HostTls(mode, any(tls.labelled for tls in settings), max(tls.hsts for tls in settings))


def _tls_of(row: dict[str, Any]) -> HostTls:
    mode, hsts = row.get("tls"), row.get("hsts")
    if mode not in ("off", "redirect") and not row.get("tls_set") and not hsts:
        return _AUTO
    age = hsts if isinstance(hsts, int) and not isinstance(hsts, bool) and hsts in HSTS_AGES else 0
    return HostTls(mode if mode in ("off", "redirect") else "auto", bool(row.get("tls_set")), age)


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
    authority = directory.partition("://")[2].partition("/")[0].partition(":")[0]
    public = any(authority == ca or authority.endswith(f".{ca}") for ca in _PUBLIC_CAS)
    if public and "." not in host.removeprefix("*."):
        return "no public CA signs a name without a dot"
    if public and host.rpartition(".")[2] in _RESERVED:
        return f"no public CA signs names under .{host.rpartition('.')[2]}"
    return ""
