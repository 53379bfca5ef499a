"""Controllers of one swarm tell each other what managers alone may read: over real sockets, proven both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.programs import wait_for

from fastroute.controller.decide.messages import Message, SwarmTold, SwarmUntold
from fastroute.controller.decide.swarm import SwarmView
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.swarm import client as client_module
from fastroute.controller.swarm.board import SwarmBoard
from fastroute.controller.swarm.client import PeerClient
from fastroute.controller.swarm.listing import swarm_listing
from fastroute.controller.swarm.peers import PeerSettings
from fastroute.controller.swarm.server import CONTAINERS_PATH, PATH, PeerServer
from fastroute.router.protocol.address import Address, parse_address
from fastroute.router.runtime.listen import open_streams

SECRET = b"a secret of the routers"
VIEW = SwarmView({"s1": {"fastroute.key": "foo.com"}}, {"n1": "host-1"})


class Peer:
    """One controller that answers."""

    def __init__(self, secret: bytes = SECRET, containers: str = "") -> None:
        self.board = SwarmBoard()
        listeners = open_streams([parse_address("127.0.0.1:0")], 0o600)
        self.address = parse_address(listeners[0].name)
        self._listeners = listeners
        self.server = PeerServer(self.board, secret, listeners, containers.encode)
        self.server.start()

    def close(self) -> None:
        self.server.stop()
        for listener in self._listeners:
            listener.socket.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@contextmanager
def asking(*peers: Address, folder: Path | None = None, secret: bytes = SECRET) -> Iterator[list[SwarmView]]:
    """What a controller that asks is told while the block runs."""
    views: list[SwarmView] = []

    def post(message: Message) -> None:
        assert isinstance(message, SwarmTold)
        assert not message.own
        views.append(message.view)

    file = StateFile.of_swarm(str(folder) if folder else None)
    client = PeerClient(PeerSettings(peers, secret, "fastroute"), SwarmBoard(), [post], file, ControllerEvents())
    client.start()
    yield views
    client.stop()


def test_what_a_manager_knows_reaches_the_others_and_so_do_its_changes(peer: Peer) -> None:
    worker = Peer()
    peer.board.heard(SwarmTold(VIEW))
    with asking(worker.address, peer.address) as views:
        wait_for(lambda: views == [VIEW], "the view")
        other = SwarmView({"s1": {"fastroute.key": "bar.com"}})
        peer.board.heard(SwarmTold(other))
        # Long before a question without news would be answered.
        wait_for(lambda: views == [VIEW, other], "the change", 5)
        peer.board.heard(SwarmUntold("it is no manager any more"))
        worker.board.heard(SwarmTold(VIEW))
        wait_for(lambda: views[2:] == [VIEW], "the word of another one", 10)
    worker.close()


def test_who_has_another_secret_is_told_nothing_and_believed_nothing(peer: Peer) -> None:
    peer.board.heard(SwarmTold(VIEW))
    url = f"http://{peer.address}{PATH}"
    assert httpx.get(url, trust_env=False).status_code == 403
    right = Peer()
    right.board.heard(SwarmTold(VIEW))
    forger = Peer(secret=b"the secret of others")
    forger.board.heard(SwarmTold(SwarmView({"s1": {"fastroute.key": "evil.com"}})))
    with asking(forger.address, right.address) as views:
        wait_for(lambda: views, "a view")
        assert views == [VIEW]
    right.close()
    forger.close()


def test_a_controller_that_starts_while_no_manager_answers_goes_on_with_what_it_knew(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "KEPT_AFTER", 0.1)
    monkeypatch.setattr(client_module, "RETRY_INTERVAL", 0.05)
    peer.board.heard(SwarmTold(VIEW))
    with asking(peer.address, folder=tmp_path) as views:
        wait_for(lambda: views, "a view")
        wait_for(lambda: (tmp_path / "swarm.json").exists(), "what is kept")
    peer.board.heard(SwarmUntold("no quorum"))
    with asking(peer.address, folder=tmp_path) as views:
        wait_for(lambda: views, "what was kept")
        assert views == [VIEW]


def test_the_containers_of_all_controllers_are_listed_by_service_and_slot_and_who_is_silent_is_named() -> None:
    def rows(*slots: str) -> str:
        tasks = [{"id": f"c{slot}", "name": f"shop_web.{slot}", "service": "shop_web", "slot": slot} for slot in slots]
        return json.dumps({"containers": tasks})

    peers = [Peer(containers=rows("2", "10")), Peer(containers=rows("1")), Peer(b"the secret of others", rows("3"))]
    nowhere = parse_address("127.0.0.1:1")
    listing = swarm_listing(PeerSettings([*(peer.address for peer in peers), nowhere], SECRET, "fastroute"))
    assert [row["slot"] for row in listing.rows] == ["1", "2", "10"]
    assert listing.silent == [str(peers[2].address), str(nowhere)]
    url = f"http://{peers[0].address}{CONTAINERS_PATH}"
    assert httpx.get(url, trust_env=False).status_code == 403
    for peer in peers:
        peer.close()
