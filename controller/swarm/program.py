"""What of a swarm runs in the controller: told to other controllers, asked of them, and said to the routers."""

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
    """While the block runs, ``board`` is told to routers and other controllers, and what these know to ``engines``.
    ``containers``: the JSON of our own, for other controllers."""

    def lose(entry: BoardEntry | None) -> None:
        down = entry.view.down if entry else {}
        for name in sorted(set(down.values()) - lost):
            events.write("warning", f"node {name} of the swarm is down: routers drop what its silent controller told")
        lost.clear()
        lost.update(down.values())
        mode.lost(sorted(source_of_node(settings, id) for id in down))

    lost = set[str]()
    board.watch(lose)
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
