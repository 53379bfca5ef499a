"""What operators want of one engine's containers, until it is undone or the container ends.  Pure."""

from __future__ import annotations

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container_store import ContainerStore
from fastroute.controller.decide.override_targets import OverrideTarget, find
from fastroute.controller.decide.overrides import AS_LABELLED, OverrideMap, OverrideStore
from fastroute.router.override_target import AmbiguousTarget


class Operators:
    """Takes wishes, and answers them once they are done.  ``write`` takes what the event log should say; ``kept`` is
    what the last :class:`~.messages.Keep` order of the controller's last life had in it."""

    def __init__(self, write: m.Write, kept: object) -> None:
        self._write, self._overrides = write, OverrideStore(kept)
        self._answers: list[m.Order] = []

    def of(self, id: str, owner: str) -> OverrideMap:
        """What is wanted of this start of container ``id``."""
        return self._overrides.of(id, owner)

    def alive(self, id: str, owner: str) -> None:
        """Container ``id`` was looked at: it runs as ``owner`` (empty: it does not run)."""
        self._overrides.alive(id, owner)

    def ids(self) -> list[str]:
        """Containers of which anything is wanted."""
        return self._overrides.ids()

    def steer(self, message: m.OverrideRequest, containers: ContainerStore) -> None:
        """A wish: done at once, answered after the sink knows."""
        offers = [tracked.offer for tracked in containers if tracked.offer]
        try:
            found = find(message.target, offers)
        except AmbiguousTarget as error:
            self._answers.append(m.AnswerOperator(message.answer, error))
            return
        weight = "as labelled" if message.weight == AS_LABELLED else message.weight
        what = {True: "drain", False: "undrain", None: f"weight {weight}"}[message.drain]
        steered: list[OverrideTarget] = []
        for offer, routes in found:
            places = [(one.key, one.port) for one in routes]
            self._overrides.change(offer.id, offer.owner, places, message.drain, message.weight)
            steered += [OverrideTarget(offer.owner, offer.name, one.key, one.address) for one in routes]
            keys = ", ".join(dict.fromkeys(one.key for one in routes))
            self._write(m.WriteEvent("operator", f"{what}: {keys}", offer.name, offer.id))
            containers.mark_stale(offer.id, f"operator: {what}")
        self._answers.append(m.AnswerOperator(message.answer, steered))

    def orders(self) -> list[m.Order]:
        """What has to be kept, and the answers."""
        orders, self._answers = self._answers, []
        if self._overrides.changed:
            self._overrides.changed = False
            orders.insert(0, m.Keep(self._overrides.as_json()))
        return orders
