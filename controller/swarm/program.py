"""What a controller runs for its swarm: it answers other controllers, asks them, and tells routers of lost nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from fastroute.controller.engines import Engines, source_of_node
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.mode import Mode
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.swarm.board import BoardEntry, SwarmBoard
from fastroute.controller.swarm.peers import peer_settings
from fastroute.router.runtime.listen import Listener


@contextlib.contextmanager
def swarm_told(
    settings: ControllerSettings,
    board: SwarmBoard,
    listeners: list[Listener],
    engines: Engines,
    mode: Mode,
    events: ControllerEvents,
    containers: Callable[[], bytes],
) -> Iterator[None]:
    """While the block runs, tell routers and other controllers what is on ``board``, and ``engines`` what these know.

    ``containers`` makes the JSON of our own containers, for other controllers.
    """

    def tell_lost(entry: BoardEntry | None) -> None:
        down = entry.view.down if entry else {}
        for name in sorted(set(down.values()) - down_before):
            events.write("warning", f"node {name} of the swarm is down: routers drop what its silent controller told")
        down_before.clear()
        down_before.update(down.values())
        mode.lost(sorted(source_of_node(settings, id) for id in down))

    down_before = set[str]()
    board.watch(tell_lost)
    with contextlib.ExitStack() as running:
        peers = peer_settings(settings)
        if listeners:
            from fastroute.controller.swarm.server import PeerServer

            server = PeerServer(board, peers.secret, listeners, containers)
            server.start()
            running.callback(server.stop)
        if settings.peers:
            # Not imported outside of a swarm: httpx has 5 MB.
            from fastroute.controller.swarm.client import PeerClient

            file = StateFile.of_swarm(settings.state_dir)
            client = PeerClient(peers, board, engines.posts, file, events)
            client.start()
            running.callback(client.stop)
        yield
