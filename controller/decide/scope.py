"""Which containers are ours.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastroute.controller.decide.labels import is_labelled, is_router
from fastroute.controller.settings import ControllerSettings


@dataclass(frozen=True, slots=True)
class Scope:
    """What settings say of the containers that are ours, and of how they are reached.

    * ``prefix``: of our labels.
    * ``filters``: ``--filter`` conditions, ``NAME`` or ``NAME=VALUE`` of a label; all must hold.
    * ``network``: ``--network``.
    * ``zone``: ``--zone``, of nodes whose labels name none.
    * ``published``: the host where the engine's published ports are reached; empty: its networks are.
    """

    prefix: str = "fastroute"
    filters: tuple[str, ...] = ()
    network: str = ""
    published: str = ""
    zone: str = ""

    @classmethod
    def of(cls, settings: ControllerSettings, published: str = "") -> Scope:
        """The scope that ``settings`` ask for."""
        return cls(settings.label_prefix, settings.filter, settings.network or "", published, settings.zone or "")

    def labelled(self, labels: Mapping[str, str]) -> bool:
        """True for containers that people should see."""
        return is_labelled(labels, self.prefix) and all(_matches(labels, condition) for condition in self.filters)

    def router(self, labels: Mapping[str, str]) -> bool:
        """True for a router's container, whose networks matter; filters are not about it."""
        return is_router(labels, self.prefix)

    def relevant(self, labels: Mapping[str, str]) -> bool:
        """True for either."""
        return self.labelled(labels) or self.router(labels)

    @property
    def opting_in(self) -> tuple[str, ...]:
        """Labels (``NAME`` or ``NAME=VALUE``, as Docker filters by them) of most containers that are relevant."""
        roles = (f"{prefix}.role=router" for prefix in (self.prefix, "fastroute"))
        return f"{self.prefix}.key", *dict.fromkeys(roles)


def _matches(labels: Mapping[str, str], condition: str) -> bool:
    name, equals, value = condition.partition("=")
    return name in labels and (not equals or labels[name] == value)
