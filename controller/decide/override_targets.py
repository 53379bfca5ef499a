"""Which routes a TARGET of ``drain``, ``undrain`` and ``weight`` means.  Pure; docs/reference/ctl.md has the forms.

In this order: a container's name or id (or the beginning of one, 4 characters at least), an address, ``KEY@ADDRESS``,
a key.  The first form that means anything counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastroute.controller.desired import ContainerRoutes, RouteStatus
from fastroute.router.key import named_key

_SHORTEST_ID = 4


class Ambiguous(ValueError):
    """The target means several containers; the message names them."""


@dataclass(frozen=True, slots=True)
class OverrideTarget:
    """One route that a target means."""

    owner: str
    container: str
    key: str
    address: str


def find(target: str, offers: Iterable[ContainerRoutes]) -> list[tuple[ContainerRoutes, list[RouteStatus]]]:
    """The offers of containers that run, with those of their routes that ``target`` means."""
    running = [offer for offer in offers if offer.owner and offer.statuses]
    named = [offer for offer in running if offer.name == target]
    if not named and len(target) >= _SHORTEST_ID:
        named = [offer for offer in running if offer.id.startswith(target)]
    if len(named) > 1:
        listed = ", ".join(sorted(f"{offer.name} ({offer.id[:12]})" for offer in named))
        raise Ambiguous(f"{target[:80]!r} is not one container: {listed}")
    if named:
        return [(named[0], list(named[0].statuses))]
    key, at, address = target.partition("@")
    found = _matching(running, lambda one: one.address == target)
    if not found and at:
        of_node = named_key(key)
        found = _matching(running, lambda one: one.address == address and one.key == of_node)
    of_all = named_key(target)
    return found or _matching(running, lambda one: one.key == of_all)


def _matching(
    offers: Iterable[ContainerRoutes], means: Callable[[RouteStatus], bool]
) -> list[tuple[ContainerRoutes, list[RouteStatus]]]:
    found = ((offer, [one for one in offer.statuses if means(one)]) for offer in offers)
    return [(offer, statuses) for offer, statuses in found if statuses]
