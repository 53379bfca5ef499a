"""Which address of a container its requests go to, and why.  Pure.

Order of choice (docs/reference/labels.md): the label, ``--network``, the networks shared with the router's container
(else the controller's own), first by name; a controller outside Docker takes every local bridge after those.  A
container that borrows another's network (``container:X``) has that one's address, one on the host's network the gateway
of the chosen network.  Every answer says why, and every refusal has the word ``network`` and the names involved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastroute.controller.decide.container import Container
from fastroute.controller.decide.networks import NetworkContext, is_mesh
from fastroute.router.protocol.address import is_loopback, is_unspecified

#: container:X of container:Y of ...: Docker allows few; the bound is against a loop.
_MAX_BORROWED = 4
_COMPOSE_PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class FoundAddress:
    """An address (without port), its network and the reason for taking it.

    * ``port``: 0 means the worker's own.
    * ``port_namespace``: to whom the ports belong: the id of the container that has the network, or ``host``.
    """

    address: str
    network: str
    why: str
    port: int = 0
    port_namespace: str = ""


@dataclass(frozen=True, slots=True)
class NoAddress:
    """There is no address.

    * ``retry_soon``: Docker is probably still handing one out.
    * ``foreign``: the container belongs to another stack on this engine.
    """

    reason: str
    retry_soon: bool = False
    foreign: bool = False


Lookup = Callable[[str], Container | None]


def choose(
    container: Container, label: str, networks: NetworkContext, lookup: Lookup, port: int = 0
) -> FoundAddress | NoAddress:
    """The address of ``container``; ``label`` is its fastroute.network, ``port`` the worker's, ``lookup`` finds another
    container by id or name."""
    holder, via = container, ""
    for _ in range(_MAX_BORROWED):
        other = holder.network_lender
        if not other:
            break
        lender = lookup(other)
        # Of a paused one only the processes stand still, not the network.
        if lender is None or not lender.alive:
            name = lender.name if lender else other[:12]
            return NoAddress(
                f"its network is that of container {name}, which is not running", retry_soon=lender is None
            )
        holder, via = lender, f", as container {lender.name} has it"
    if networks.published:
        return _published(holder, port, networks.published, via)
    names, why = _wanted(container, label, networks)
    if theirs := _foreign(holder, names, networks):
        return NoAddress(theirs, foreign=True)
    if holder.network_mode == "host":
        return _on_host(names, why, networks)
    if holder.network_mode == "none" and all(end.network == "none" for end in holder.endpoints):
        return NoAddress("network_mode is none: the container has no network")
    # Joined just now, while our own list of networks is from before: unknown is not the same as foreign.
    fresh = not label and not networks.option and networks.outside
    unknown = fresh and any(end.network not in networks.known for end in holder.endpoints)
    if meshes := [name for name in names if is_mesh(name, networks.known)]:
        text = f"network {meshes[0]} is the swarm's own, where routers reach no container: an overlay network expected"
        return NoAddress(f"{text} ({why})")
    return _on_networks(holder, names, why + via, unknown)


def _wanted(container: Container, label: str, networks: NetworkContext) -> tuple[tuple[str, ...], str]:
    """Names of the networks that would do, in order of preference, and the reason."""
    if label:
        project = container.labels.get(_COMPOSE_PROJECT, "")
        # Compose calls network "backend" of project "shop" shop_backend; people write either.
        return (label, f"{project}_{label}") if project else (label,), f"label names network {label}"
    if networks.option:
        return (networks.option,), f"--network names network {networks.option}"
    if not networks.outside:
        return networks.shared, f"a network shared with {networks.shared_with}"
    shared = f"shared with {networks.shared_with}, or else " if networks.shared else ""
    others = (name for name in networks.bridges if name not in networks.shared)
    return (*networks.shared, *others), f"a network {shared}of this machine, as the controller runs outside Docker"


def _foreign(holder: Container, names: Iterable[str], networks: NetworkContext) -> str:
    """Why ``holder`` is for another stack, empty if it is not: its label names a network of that one's routers where
    ours are not, or it is on such a network and on none of ours."""
    joined = {end.network for end in holder.endpoints}
    theirs = joined & networks.foreign.keys()
    named = theirs & {*names}
    if not theirs or (not named and not joined.isdisjoint({*networks.shared, *names})):
        return ""
    network = min(named or theirs)
    return f"for another stack: on network {network} with {networks.foreign[network]}, not with ours"


def _on_networks(holder: Container, names: Iterable[str], why: str, unknown: bool) -> FoundAddress | NoAddress:
    names = tuple(names)
    joined = {end.network: end for end in holder.endpoints}
    usable = [joined[name] for name in names if name in joined]
    for end in usable:
        if end.address:
            return FoundAddress(end.address, end.network, why, port_namespace=holder.id)
    if usable:
        return NoAddress(f"waiting for an address on network {usable[0].network}", retry_soon=True)
    on = _listed("network", "networks", joined) if joined else "no network"
    return NoAddress(f"on {on}, but needed is {_needed(names)} ({why})", retry_soon=unknown)


def _published(holder: Container, port: int, host: str, via: str) -> FoundAddress | NoAddress:
    """Where the engine publishes ``port``; ``host`` is the engine's machine, as we reach it."""
    if holder.network_mode == "host":
        return FoundAddress(host, "host", f"the network of the engine's machine{via}", port_namespace="host")
    why = f"port {port} as its engine publishes it{via}"
    local = is_loopback(host)
    only = ""
    for ip, public in holder.published.get(port, ()):
        if is_unspecified(ip):
            return FoundAddress(host, "published", why, public, holder.id)
        if local or not is_loopback(ip):
            return FoundAddress(ip, "published", why, public, holder.id)
        only = ip
    if only:
        return NoAddress(
            f"port {port} is published on {only} only, on the network of the engine's machine {host} itself"
        )
    return NoAddress(f"port {port} is not published, and with address=published no network of that engine is used")


def _on_host(names: Iterable[str], why: str, networks: NetworkContext) -> FoundAddress | NoAddress:
    names = tuple(names)
    for name in names:
        network = networks.known.get(name)
        if network and network.gateway:
            return FoundAddress(
                network.gateway, name, f"the host's own network, at the gateway of {name}: {why}", port_namespace="host"
            )
    return NoAddress(
        f"on the host's network, and no gateway is known of {_needed(names)} ({why})", retry_soon=not networks.known
    )


def _needed(names: tuple[str, ...]) -> str:
    return (
        _listed("network", "networks", names[:1]) if len(names) == 1 else _listed("one of network", "networks", names)
    )


def _listed(singular: str, plural: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return "a network, but there is none"
    word = singular if len(ordered) == 1 or singular.startswith("one of") else plural
    return f"{word} {', '.join(ordered)}"
