"""Which address of a container its requests go to, and why.  Pure.

Order of choice (docs/reference/labels.md): the label, ``--network``, the networks shared with the router's container
(else the controller's own), first by name; a controller outside Docker takes every local bridge after those.  A
container that borrows another's network (``container:X``) has that one's address, one on the host's network the gateway
of the chosen network.  Every answer says why, and every refusal has the word ``network`` and the names involved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fastroute.controller.decide.container import Container, Network
from fastroute.router.address import is_loopback, is_unspecified

#: container:X of container:Y of ...: Docker allows few; the bound is against a loop.
_MAX_BORROWED = 4
_COMPOSE_PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the routers stand.

    ``option`` is ``--network``; ``shared`` are the networks of ``whose`` container, if there is one; ``networks`` are
    all of the engine's, by name; ``outside``: the controller is not in Docker, so every local bridge will do as well;
    ``published``: the engine is elsewhere, and what it publishes is reached at this host; ``project``: the compose
    project of these routers, if it is the controller's own; ``foreign``: networks of other stacks' routers where ours
    are not, each with who stands there.
    """

    option: str = ""
    shared: tuple[str, ...] = ()
    whose: str = ""
    networks: Mapping[str, Network] = field(default_factory=dict)
    outside: bool = True
    published: str = ""
    project: str = ""
    foreign: Mapping[str, str] = field(default_factory=dict)

    @property
    def bridges(self) -> tuple[str, ...]:
        """Names of the local bridges."""
        return tuple(sorted(name for name, network in self.networks.items() if network.local_bridge))


@dataclass(frozen=True, slots=True)
class Found:
    """An address (without port), its network and the reason for taking it.

    ``port`` 0: the worker's own; ``space`` is whose ports these are: the container that has the network, or ``host``.
    """

    address: str
    network: str
    why: str
    port: int = 0
    space: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """No address.  ``soon``: Docker is probably still handing it out, so ask again shortly; ``foreign``: it is none of
    ours, but of another stack on this engine."""

    reason: str
    soon: bool = False
    foreign: bool = False


Lookup = Callable[[str], Container | None]


def choose(container: Container, label: str, around: Surroundings, lookup: Lookup, port: int = 0) -> Found | Missing:
    """The address of ``container``; ``label`` is its fastroute.network, ``port`` the worker's, ``lookup`` finds another
    container by id or name."""
    holder, via = container, ""
    for _ in range(_MAX_BORROWED):
        if not holder.network_mode.startswith("container:"):
            break
        other = holder.network_mode.removeprefix("container:")
        found = lookup(other)
        # Of a paused one only the processes stand still, not the network.
        if found is None or not found.alive:
            shown = found.name if found else other[:12]
            return Missing(f"its network is that of container {shown}, which is not running", soon=found is None)
        holder, via = found, f", as container {found.name} has it"
    if around.published:
        return _published(holder, port, around.published, via)
    names, why = _wanted(container, label, around)
    if theirs := _foreign(holder, names, around):
        return Missing(theirs, foreign=True)
    if holder.network_mode == "host":
        return _on_host(names, why, around)
    if holder.network_mode == "none" and all(end.network == "none" for end in holder.endpoints):
        return Missing("network_mode is none: the container has no network")
    # Joined just now, while our own list of networks is from before: unknown is not the same as foreign.
    fresh = not label and not around.option and around.outside
    unknown = fresh and any(end.network not in around.networks for end in holder.endpoints)
    return _on_networks(holder, names, why + via, unknown)


def borrowed_from(container: Container) -> str:
    """Id (or name) of the container whose network ``container`` uses; empty when it has its own."""
    mode = container.network_mode
    return mode.removeprefix("container:") if mode.startswith("container:") else ""


def _wanted(container: Container, label: str, around: Surroundings) -> tuple[tuple[str, ...], str]:
    """Names of the networks that would do, in order of preference, and the reason."""
    if label:
        project = container.labels.get(_COMPOSE_PROJECT, "")
        # Compose calls network "backend" of project "shop" shop_backend; people write either.
        return (label, f"{project}_{label}") if project else (label,), f"label names network {label}"
    if around.option:
        return (around.option,), f"--network names network {around.option}"
    if not around.outside:
        return around.shared, f"a network shared with {around.whose}"
    shared = f"shared with {around.whose}, or else " if around.shared else ""
    others = (name for name in around.bridges if name not in around.shared)
    return (*around.shared, *others), f"a network {shared}of this machine, as the controller runs outside Docker"


def _foreign(holder: Container, names: Iterable[str], around: Surroundings) -> str:
    """Why ``holder`` is for another stack, empty if it is not: its label names a network of that one's routers where
    ours are not, or it is on such a network and on none of ours."""
    joined = {end.network for end in holder.endpoints}
    theirs = joined & around.foreign.keys()
    named = theirs & {*names}
    if not theirs or (not named and not joined.isdisjoint({*around.shared, *names})):
        return ""
    network = min(named or theirs)
    return f"for another stack: on network {network} with {around.foreign[network]}, not with ours"


def _on_networks(holder: Container, names: Iterable[str], why: str, unknown: bool) -> Found | Missing:
    names = tuple(names)
    joined = {end.network: end for end in holder.endpoints}
    usable = [joined[name] for name in names if name in joined]
    for end in usable:
        if end.address:
            return Found(end.address, end.network, why, space=holder.id)
    if usable:
        return Missing(f"waiting for an address on network {usable[0].network}", soon=True)
    on = _listed("network", "networks", joined) if joined else "no network"
    return Missing(f"on {on}, but needed is {_needed(names)} ({why})", soon=unknown)


def _published(holder: Container, port: int, host: str, via: str) -> Found | Missing:
    """Where the engine publishes ``port``; ``host`` is the engine's machine, as we reach it."""
    if holder.network_mode == "host":
        return Found(host, "host", f"the network of the engine's machine{via}", space="host")
    why = f"port {port} as its engine publishes it{via}"
    local = is_loopback(host)
    only = ""
    for ip, public in holder.published.get(port, ()):
        if is_unspecified(ip):
            return Found(host, "published", why, public, holder.id)
        if local or not is_loopback(ip):
            return Found(ip, "published", why, public, holder.id)
        only = ip
    if only:
        return Missing(f"port {port} is published on {only} only, on the network of the engine's machine {host} itself")
    return Missing(f"port {port} is not published, and with address=published no network of that engine is used")


def _on_host(names: Iterable[str], why: str, around: Surroundings) -> Found | Missing:
    names = tuple(names)
    for name in names:
        network = around.networks.get(name)
        if network and network.gateway:
            return Found(
                network.gateway, name, f"the host's own network, at the gateway of {name}: {why}", space="host"
            )
    return Missing(
        f"on the host's network, and no gateway is known of {_needed(names)} ({why})", soon=not around.networks
    )


def _needed(names: tuple[str, ...]) -> str:
    return (
        _listed("network", "networks", names[:1]) if len(names) == 1 else _listed("one of network", "networks", names)
    )


def _listed(one: str, many: str, names: Iterable[str]) -> str:
    shown = sorted(names)
    if not shown:
        return "a network, but there is none"
    word = one if len(shown) == 1 or one.startswith("one of") else many
    return f"{word} {', '.join(shown)}"
