"""From the desired nodes of one key to what an ``upstream`` of nginx can hold, and what is lost on the way.  Pure.

nginx balances a key in one way, in one protocol, with one level of backup.  What the labels ask for beyond that gives
way in a fixed manner, and every time it does there is a problem to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

from fastroute.controller.desired import Route
from fastroute.router.address import Address, AddressError, parse_address

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

Manner = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be done as asked: of which key, of which container ("" for all of the key)."""

    key: str
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {f'container {self.container}: ' if self.container else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Server:
    """One node as nginx has it.  ``address`` is in nginx's words (``unix:/path``)."""

    address: str
    weight: int
    backup: bool
    down: bool
    container: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """All nodes of ``key`` that nginx takes, in the order of their addresses; ``balancing`` is a line of nginx.
    ``alive``: at least one takes new requests.  ``routes`` are those that ``servers`` were made from."""

    key: str
    balancing: str
    protocol: str
    modifier1: int
    modifier2: int
    servers: tuple[Server, ...]
    routes: tuple[Route, ...]
    problems: tuple[Problem, ...]

    @property
    def alive(self) -> bool:
        """Whether a new request finds a node."""
        return any(not server.down for server in self.servers)


def make_upstream(key: str, routes: Iterable[Route]) -> Upstream:
    """The upstream of the routes of ``key``, in whatever order they come."""
    problems: list[Problem] = []
    nodes: dict[str, Route] = {}
    addresses: dict[str, str] = {}
    algorithm = ""
    for route in sorted(routes, key=lambda route: route.id):
        entry = route.entry
        algorithm = algorithm or entry.algorithm
        if not entry.address or entry.address in nodes:
            continue
        try:
            addresses[entry.address] = server_address(parse_address(entry.address))
        except AddressError as error:
            problems.append(Problem(key, route.container, f"left out: {error}"))
            continue
        nodes[entry.address] = route
    nodes, manner = _of_one_manner(key, nodes, problems)
    balancing, backups = BALANCING[algorithm]
    levels = sorted({route.entry.backup for route in nodes.values() if not route.entry.drain})
    if len(levels) > 2:
        text = f"backup levels {', '.join(map(str, levels[1:]))} are one in nginx, which knows no more"
        problems.append(Problem(key, "", text))
    if len(levels) > 1 and not backups:
        problems.append(Problem(key, "", f"algorithm {algorithm} gives way: nginx has no backup servers beside it"))
        balancing = ""
    live = {address: route.entry.weight for address, route in nodes.items() if not route.entry.drain}
    if algorithm == "lrc":
        live = dict.fromkeys(live, 1)
    elif balancing.startswith("hash "):
        live = _of_bounded_sum(key, live, problems)
    # nginx refuses a weight of 0, and a backup beside some algorithms: a server that is down gets neither.
    servers = tuple(
        Server(addresses[address], 1, backup=False, down=True, container=route.container)
        if route.entry.drain
        else Server(addresses[address], live[address], route.entry.backup > levels[0], False, route.container)
        for address, route in nodes.items()
    )
    return Upstream(key, balancing, *manner, servers, tuple(nodes.values()), tuple(problems))


def _of_bounded_sum(key: str, weights: dict[str, int], problems: list[Problem]) -> dict[str, int]:
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
    problems.append(Problem(key, "", text))
    return reduced


def _of_one_manner(key: str, nodes: dict[str, Route], problems: list[Problem]) -> tuple[dict[str, Route], Manner]:
    """The nodes of the protocol and modifiers that most have (uwsgi, and lower modifiers, if as many); nodes that drain
    have no say while there are others."""
    live = [route for route in nodes.values() if not route.entry.drain]
    counts = Counter(_manner(route) for route in live or nodes.values())
    if not counts:
        return {}, ("uwsgi", 0, 0)
    chosen = min(counts, key=lambda manner: (-counts[manner], manner[0] != "uwsgi", manner))
    for route in nodes.values():
        if _manner(route) != chosen:
            text = f"left out: it speaks {_words(_manner(route))}, the others of the key speak {_words(chosen)}"
            problems.append(Problem(key, route.container, f"{text}, and nginx has one way for all of a key"))
    return {address: route for address, route in nodes.items() if _manner(route) == chosen}, chosen


def _manner(route: Route) -> Manner:
    entry = route.entry
    return (entry.protocol, entry.modifier1, entry.modifier2) if entry.protocol == "uwsgi" else (entry.protocol, 0, 0)


def _words(manner: Manner) -> str:
    protocol, *modifiers = manner
    return f"{protocol} with modifiers {modifiers[0]}, {modifiers[1]}" if any(modifiers) else protocol


def server_address(address: Address, *, names: bool = False) -> str:
    """``address`` in nginx's words; ``AddressError`` for what nginx can't have.  ``names``: it may be a host name."""
    if address.kind == "unix" and address.path.startswith("/"):
        return f"unix:{address.path}"
    if address.kind != "inet" or address.unspecified or not address.port:
        raise AddressError(f"{str(address)[:80]!r} is no address that nginx could connect to")
    if not address.numeric and not names:
        raise AddressError(f"{str(address)[:80]!r} is a name that does not resolve here; nginx would not start with it")
    return str(address)
