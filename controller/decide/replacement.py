"""Which container Docker Compose is about to replace.  Pure.

``docker compose up`` of a service that changed makes the new container first, then stops and removes the old one, then
starts the new one.  The event ``create`` comes some 20 ms before the stop signal, and names the old container: until
the new one takes its name, that one is called ``ID_NAME``, with 12 digits of the old one's id.  So the old one can be
without requests when the signal comes; by the event of the signal itself, a worker may have closed its socket already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastroute.controller.decide.messages import Happened
from fastroute.controller.decide.tracked import TrackedContainer

_REPLACES = "com.docker.compose.replace"
#: What both containers have in common.
_PLACE = ("com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.container-number")
_TEMPORARY_NAME = re.compile("([0-9a-f]{12})_.")


def find_replaced(event: Happened, tracked: Iterable[TrackedContainer]) -> TrackedContainer | None:
    """The one that will be replaced by the container that ``event`` says was made; ``None``: none that is known."""
    attributes = event.labels
    if event.action != "create" or _REPLACES not in attributes:
        return None
    name = _TEMPORARY_NAME.match(attributes.get("name", ""))
    if name is None:
        return None
    for candidate in tracked:
        if candidate.id.startswith(name[1]) and candidate.container is not None:
            labels = candidate.container.labels
            return candidate if all(labels.get(part) == attributes.get(part) for part in _PLACE) else None
    return None
