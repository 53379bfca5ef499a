"""The other controllers of a swarm: whom to ask, and what all of them have.  Without httpx, which takes 5 MB."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.address import Address
from fastroute.router.runtime.secret_file import read_secret_file

log = logging.getLogger("fastroute.controller.swarm")


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Whom to ask, and how."""

    peers: Sequence[Address]
    secret: bytes
    #: The prefix of our labels (``fastroute.``).
    prefix: str


@dataclass(frozen=True, slots=True)
class SwarmListing:
    """Rows as ``/v1/containers`` has them, by service and slot, and the controllers that did not answer."""

    rows: list[dict[str, Any]]
    silent: list[str]


def peer_settings(settings: ControllerSettings) -> PeerSettings:
    """What ``settings`` say of the others."""
    secret = read_secret_file(settings.subscription_secret_file, log) or b""
    return PeerSettings(settings.peers, secret, settings.label_prefix)
