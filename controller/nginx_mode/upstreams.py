"""From the desired nodes of one key to what an ``upstream`` of nginx can hold, and what is lost on the way.  Pure.

nginx balances a key in one way, in one protocol, with one level of backup.  What the labels ask for beyond that gives
way by fixed rules, and every time it does there is a problem to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from fastroute.controller.desired import Route
from fastroute.controller.nginx_mode.names import upstream_name
from fastroute.controller.nginx_mode.unsupported import Version, no_ramp, sticky_directive, unsupported
from fastroute.router.protocol.address import Address, AddressError, parse_address
from fastroute.router.protocol.node_options import KEY_SETTINGS, key_options, non_defaults

#: What is written for an algorithm: directives of nginx, and whether it can have backup servers beside them.
BALANCING = {
    "": ("", True),
    "wrr": ("", True),
    "lrc": ("least_conn;", True),
    "wlrc": ("least_conn;", True),
    "iphash": ("hash $remote_addr consistent;", False),
    "random2": ("random two least_conn;", False),
}

#: nginx makes 160 points of each unit of weight for ``hash ... consistent``: the weights of a key may sum up to this
#: for each of its nodes, so that the memory and time of a reload depend on how many nodes there are, not on weights.
HASH_WEIGHT = 16

#: KiB of shared memory for the counts of an upstream, and for each of its servers: about four times what nginx takes.
_ZONE_BASE, _ZONE_PER_SERVER = 64, 4

#: After how many failures within how many seconds nginx leaves a server out, and for so long: as a rule, and where
#: answers with an error count as failures, too (``eject: errors``; the router judges by ten answers in ten seconds).
_FAILURES, _FAILURES_WITH_ERRORS = (1, 2), (10, 10)

#: Protocol, modifier1 and modifier2.
NodeProtocol = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Something that could not be done as the labels ask."""

    key: str
    #: The container that it concerns; "" for all of the key.
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {f'container {self.container}: ' if self.container else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class UpstreamServer:
    """One node as nginx has it."""

    #: In nginx's syntax (``unix:/path``).
    address: str
    weight: int
    backup: bool
    down: bool
    container: str
    #: Requests at once, at most; 0: no limit.
    max: int = 0


@dataclass(frozen=True, slots=True)
class NginxUpstream:
    """All nodes of a key that nginx takes, in the order of their addresses."""

    key: str
    #: nginx's directive for the algorithm, or empty.
    balancing: str
    protocol: str
    modifier1: int
    modifier2: int
    servers: tuple[UpstreamServer, ...]
    #: The routes that ``servers`` were made from.
    routes: tuple[Route, ...]
    problems: tuple[ConfigProblem, ...]
    #: nginx's directive by which clients stay with their node, or empty.
    sticky: str = ""
    #: Answers with an error count as failures of their node (``eject: errors``).
    ejects: bool = False

    @property
    def name(self) -> str:
        """What nginx calls it."""
        return upstream_name(self.key)

    @property
    def zone(self) -> int:
        """KiB of memory in which nginx's workers count requests and failures together; 0: no limit is there, and no
        errors count, so each counts for itself."""
        counted = self.ejects or any(server.max for server in self.servers)
        return _ZONE_BASE + _ZONE_PER_SERVER * len(self.servers) if counted else 0

    @property
    def max_fails(self) -> int:
        """Failures after which nginx leaves a server out for :attr:`fail_timeout`."""
        return (_FAILURES_WITH_ERRORS if self.ejects else _FAILURES)[0]

    @property
    def fail_timeout(self) -> int:
        """Seconds within which failures are counted, and for which a server is left out then."""
        return (_FAILURES_WITH_ERRORS if self.ejects else _FAILURES)[1]

    @property
    def alive(self) -> bool:
        """Whether a new request finds a node."""
        return any(not server.down for server in self.servers)


def make_upstream(key: str, routes: Iterable[Route], version: Version = None) -> NginxUpstream:
    """The upstream of the routes of ``key``, in whatever order they come, for nginx of this ``version``."""
    problems: list[ConfigProblem] = []
    nodes: dict[str, Route] = {}
    addresses: dict[str, str] = {}
    of_key: dict[str, Any] = {}
    for route in sorted(routes, key=lambda route: route.id):
        entry = route.entry
        of_key = non_defaults(entry.options, KEY_SETTINGS) | of_key
        if not entry.address or entry.address in nodes:
            continue
        try:
            addresses[entry.address] = server_address(parse_address(entry.address))
        except AddressError as error:
            problems.append(ConfigProblem(key, route.container, f"left out: {error}"))
            continue
        nodes[entry.address] = route
        if ramp := entry.options.ramp:
            problems.append(ConfigProblem(key, route.container, no_ramp(ramp)))
    problems += (ConfigProblem(key, "", text) for text in unsupported(key_options(of_key), version).values())
    nodes, protocol = _of_one_protocol(key, nodes, problems)
    algorithm: str = of_key.get("algorithm", "")
    balancing, backups = BALANCING[algorithm]
    levels = sorted({route.entry.options.backup for route in nodes.values() if not route.entry.drain})
    if len(levels) > 2:
        text = f"backup levels {', '.join(map(str, levels[1:]))} are one in nginx, which knows no more"
        problems.append(ConfigProblem(key, "", text))
    if len(levels) > 1 and not backups:
        problems.append(
            ConfigProblem(key, "", f"algorithm {algorithm} gives way: nginx has no backup servers beside it")
        )
        balancing = ""
    live = {address: route.entry.options.weight for address, route in nodes.items() if not route.entry.drain}
    if algorithm == "lrc":
        live = dict.fromkeys(live, 1)
    elif balancing.startswith("hash "):
        live = _of_bounded_sum(key, live, problems)
    servers = tuple(
        _server(route, addresses[address], live.get(address, 1), levels) for address, route in nodes.items()
    )
    settings = key_options(of_key)
    sticky = sticky_directive(settings, f"/{key.partition('/')[2]}", version)
    return NginxUpstream(
        key, balancing, *protocol, servers, tuple(nodes.values()), tuple(problems), sticky, settings.eject == "errors"
    )


def _server(route: Route, address: str, weight: int, levels: Sequence[int]) -> UpstreamServer:
    if route.entry.drain:
        # nginx refuses a weight of 0, and a backup beside some algorithms: a server that is down gets neither.
        return UpstreamServer(address, 1, backup=False, down=True, container=route.container)
    options = route.entry.options
    return UpstreamServer(
        address, weight, options.backup > levels[0], down=False, container=route.container, max=options.max
    )


def _of_bounded_sum(key: str, weights: dict[str, int], problems: list[ConfigProblem]) -> dict[str, int]:
    """``weights`` in the same ratio, or as near to it as :data:`HASH_WEIGHT` lets them be."""
    unit = gcd(*weights.values())
    weights = {address: weight // unit for address, weight in weights.items()}
    total, most = sum(weights.values()), HASH_WEIGHT * len(weights)
    if total <= most:
        return weights
    # Rounding, and 1 for the smallest, add less than 1 for each node.
    share = (most - len(weights)) / total
    reduced = {address: max(1, round(weight * share)) for address, weight in weights.items()}
    text = f"weights {min(weights.values())} to {max(weights.values())} become {min(reduced.values())} to"
    text = f"{text} {max(reduced.values())}: with this algorithm nginx pays for each unit of weight"
    problems.append(ConfigProblem(key, "", text))
    return reduced


def _of_one_protocol(
    key: str, nodes: dict[str, Route], problems: list[ConfigProblem]
) -> tuple[dict[str, Route], NodeProtocol]:
    """The nodes of the protocol and modifiers that most have (uwsgi, and lower modifiers, if as many); nodes that drain
    have no say while there are others."""
    live = [route for route in nodes.values() if not route.entry.drain]
    counts = Counter(_protocol(route) for route in live or nodes.values())
    if not counts:
        return {}, ("uwsgi", 0, 0)
    chosen = min(counts, key=lambda protocol: (-counts[protocol], protocol[0] != "uwsgi", protocol))
    for route in nodes.values():
        if _protocol(route) != chosen:
            text = f"left out: it speaks {_words(_protocol(route))}, the others of the key speak {_words(chosen)}"
            problems.append(ConfigProblem(key, route.container, f"{text}, and nginx has one way for all of a key"))
    return {address: route for address, route in nodes.items() if _protocol(route) == chosen}, chosen


def _protocol(route: Route) -> NodeProtocol:
    options = route.entry.options
    uwsgi = options.protocol == "uwsgi"
    return (options.protocol, *((options.modifier1, options.modifier2) if uwsgi else (0, 0)))


def _words(of_node: NodeProtocol) -> str:
    protocol, *modifiers = of_node
    return f"{protocol} with modifiers {modifiers[0]}, {modifiers[1]}" if any(modifiers) else protocol


def server_address(address: Address, *, names: bool = False) -> str:
    """``address`` in nginx's syntax; ``AddressError`` for what nginx can't have.  ``names``: it may be a host name."""
    if address.kind == "unix" and address.path.startswith("/"):
        return f"unix:{address.path}"
    if address.kind != "inet" or address.unspecified or not address.port:
        raise AddressError(f"{str(address)[:80]!r} is no address that nginx could connect to")
    if not address.numeric and not names:
        raise AddressError(f"{str(address)[:80]!r} is a name that does not resolve here; nginx would not start with it")
    return str(address)
