"""Asks the controllers on managers for what only managers may read, and keeps it through restarts.  An edge with a
thread.

One controller is asked at a time, first the one that answered last; it answers when there is something new
(:mod:`.server`).  While our own engine is a manager, nobody is asked.  The last view is kept in a file: a controller
that starts while no manager answers goes on with that.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from fastroute.controller.decide.messages import Message, SwarmTold
from fastroute.controller.decide.swarm import SwarmView, view_from_json
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.swarm.board import BoardEntry, SwarmBoard, entry_of
from fastroute.controller.swarm.peers import PeerSettings
from fastroute.controller.swarm.question import ask_peer
from fastroute.controller.swarm.server import HOLD_TIME, PATH
from fastroute.router.protocol.address import join_host_port
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.json_text import read_json
from fastroute.router.sidecar.router_names import RouterNames, Target

#: Seconds between look-ups of the controllers' names, and between rounds in which no controller knew anything.
RESOLVE_INTERVAL, RETRY_INTERVAL = 4.0, 1.0
#: Seconds without an answer after which a controller that starts goes on with the view in its file.
KEPT_AFTER = 5.0
#: Seconds without an answer after which a warning is written.
TROUBLE_AFTER = 15.0
CONNECT_TIMEOUT = 1.0


class PeerClient:
    """Asks while our own engine tells nothing to ``board``; what is learnt goes to ``posts``."""

    def __init__(
        self,
        settings: PeerSettings,
        board: SwarmBoard,
        posts: Sequence[Callable[[Message], None]],
        file: StateFile,
        events: ControllerEvents,
    ) -> None:
        self._settings, self._board, self._posts = settings, board, posts
        self._file, self._events = file, events
        self._names = RouterNames(settings.peers, lambda: None, every=RESOLVE_INTERVAL)
        self._last: BoardEntry | None = None
        self._asked: Target | None = None
        self._stop, self._silent = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="swarm-client", daemon=True)
        board.watch(self._on_own)

    def start(self) -> None:
        """Begin to ask."""
        self._names.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; a question under way is left to itself."""
        self._stop.set()
        self._names.close()

    def _on_own(self, entry: BoardEntry | None) -> None:
        if entry is not None:
            self._file.save(entry.view.to_json())

    def _run(self) -> None:
        begun = answered_at = time.monotonic()
        with httpx.Client(trust_env=False, timeout=httpx.Timeout(HOLD_TIME + 5, connect=CONNECT_TIMEOUT)) as client:
            while not self._stop.is_set():
                if self._board.entry is not None or self._ask_all(client):
                    answered_at, self._silent = time.monotonic(), False
                    if self._board.entry is not None:
                        self._last = self._board.wait(RETRY_INTERVAL)
                    continue
                now = time.monotonic()
                if self._last is None and now - begun > KEPT_AFTER:
                    self._use_file()
                if now - answered_at > TROUBLE_AFTER and not self._silent:
                    self._silent = True
                    text = "no controller on a manager of the swarm answers: labels of services stay as they were"
                    self._events.write("warning", text)
                self._stop.wait(RETRY_INTERVAL)

    def _use_file(self) -> None:
        written = self._file.load()
        if written is not None:
            try:
                view = view_from_json(written, self._settings.prefix)
            except ValueError as error:
                self._events.write("warning", f"the labels of services that the last run kept can't be used: {error}")
            else:
                self._events.write("docker", "no manager of the swarm answers: labels of services as they were last")
                self._tell(view)

    def _tell(self, view: SwarmView) -> None:
        self._last = entry_of(view)
        for post in self._posts:
            post(SwarmTold(view, own=False))

    def _ask_all(self, client: httpx.Client) -> bool:
        """Ask one controller after the other until one answers; whether one did."""
        targets = [target for _, target in self._names.targets()]
        random.shuffle(targets)
        targets.sort(key=lambda target: target != self._asked)
        for target in targets:
            if self._stop.is_set() or self._board.entry is not None:
                break
            if not isinstance(target, str) and self._ask(client, target):
                self._asked = target
                return True
        return False

    def _ask(self, client: httpx.Client, target: tuple[str, int]) -> bool:
        # Empty: the answer comes at once.
        known = self._last.digest if self._last and self._asked == target else ""
        url = f"http://{join_host_port(*target)}{PATH}"
        body = ask_peer(client, url, self._settings.secret, known, {"known": known})
        if body is None:
            return False
        if body:
            try:
                view = view_from_json(read_json(body), self._settings.prefix)
            except ValueError as error:
                text = f"the controller at {target[0]} told no view of a swarm, so it is not believed: {error}"
                self._events.write("warning", text)
                return False
            if self._last is None or entry_of(view).digest != self._last.digest:
                self._tell(view)
                self._file.save(view.to_json())
        return True
