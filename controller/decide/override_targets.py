"""Which routes a TARGET of ``drain``, ``undrain`` and ``weight`` means.  Pure; its forms: router/override_target.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.controller.desired import ContainerRoutes, RouteStatus
from fastroute.router.override_target import AmbiguousTarget, ContainerMatch, match_container, node_forms


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
    matches: dict[ContainerMatch, list[ContainerRoutes]] = {match: [] for match in ContainerMatch}
    for offer in running:
        matches[match_container(target, offer.id, offer.name)].append(offer)
    named = matches[ContainerMatch.EXACT] or matches[ContainerMatch.PREFIX]
    if len(named) > 1:
        raise AmbiguousTarget(target, (f"{offer.name} ({offer.id[:12]})" for offer in named))
    if named:
        return [(named[0], list(named[0].statuses))]
    for form in node_forms(target):
        routes = [(offer, [row for row in offer.statuses if form.means(row.key, row.address)]) for offer in running]
        if routes := [(offer, statuses) for offer, statuses in routes if statuses]:
            return routes
    return []
