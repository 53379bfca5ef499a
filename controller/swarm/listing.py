"""The containers of the whole swarm, for ``ps --all``: every controller is asked for its own.  An edge; it blocks."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastroute.controller.swarm.peers import PeerSettings, SwarmListing
from fastroute.controller.swarm.question import ask_peer
from fastroute.controller.swarm.server import CONTAINERS, CONTAINERS_PATH
from fastroute.router.protocol.address import Address, join_host_port
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.json_text import read_json

#: Seconds until a controller that does not answer is left out.
ANSWER_TIMEOUT = 2.0
#: Controllers that are asked at once.
MAX_ASKED = 64


def swarm_listing(settings: PeerSettings) -> SwarmListing:
    """Ask every controller behind ``settings.peers``, ourselves among them."""
    targets = _targets(settings.peers)
    with (
        httpx.Client(trust_env=False, timeout=ANSWER_TIMEOUT) as client,
        ThreadPoolExecutor(min(len(targets), MAX_ASKED) or 1) as threads,
    ):
        answers = list(threads.map(lambda target: _ask(client, settings.secret, target), targets))
    rows = {row["id"]: row for answer in answers if answer is not None for row in answer}
    ordered = sorted(rows.values(), key=lambda row: (str(row.get("service")), _slot(row), str(row["name"])))
    return SwarmListing(ordered, [target for target, answer in zip(targets, answers, strict=True) if answer is None])


def _slot(row: dict[str, Any]) -> tuple[int, str]:
    slot = str(row.get("slot") or "")
    return int(slot) if slot.isdigit() else 0, slot


def _targets(peers: Sequence[Address]) -> list[str]:
    """``host:port`` of every address behind the names; a name that does not resolve counts as silent."""
    targets = dict[str, None]()
    for peer in peers:
        try:
            addresses = socket.getaddrinfo(peer.host or "127.0.0.1", peer.port, type=socket.SOCK_STREAM)
        except OSError:
            targets[str(peer)] = None
        else:
            targets.update((join_host_port(str(row[4][0]), peer.port), None) for row in addresses)
    return list(targets)


def _ask(client: httpx.Client, secret: bytes, target: str) -> list[dict[str, Any]] | None:
    body = ask_peer(client, f"http://{target}{CONTAINERS_PATH}", secret, CONTAINERS)
    if body is None:
        return None
    try:
        rows = read_json(body)["containers"]
    except (ValueError, KeyError, TypeError):
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) and "id" in row for row in rows) else None
