"""Asks the controllers on managers what only these may read, and keeps it through restarts.  An edge with a thread.

One of them is asked, the one that knew last; each answer comes when there is something new (:mod:`.server`).  While our
own engine is a manager, nobody is asked.  What was known last is kept in a file: a controller that starts while no
manager answers goes on with that.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from fastroute.controller.decide.messages import Message, SwarmTold
from fastroute.controller.decide.swarm import SwarmView, view_from_json
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.swarm.board import BoardEntry, SwarmBoard, entry_of
from fastroute.controller.swarm.peer_proof import NONCE, NONCE_SIZE, PROOF, answer_proof, proven, question_proof
from fastroute.controller.swarm.peers import MAX_ANSWER, PeerSettings
from fastroute.controller.swarm.server import HOLD_TIME, PATH
from fastroute.router.protocol.address import join_host_port
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.json_text import read_json
from fastroute.router.sidecar.router_names import RouterNames, Target

#: Seconds between look-ups of the controllers' name, and between rounds in which nobody knew.
RESOLVE_INTERVAL, RETRY_INTERVAL = 4.0, 1.0
#: Seconds after which a controller that starts goes on with what was known last.
KEPT_AFTER = 5.0
#: Seconds without an answer until people are told.
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
        begun = heard = time.monotonic()
        with httpx.Client(trust_env=False, timeout=httpx.Timeout(HOLD_TIME + 5, connect=CONNECT_TIMEOUT)) as client:
            while not self._stop.is_set():
                if self._board.entry is not None or self._ask_all(client):
                    heard, self._silent = time.monotonic(), False
                    if self._board.entry is not None:
                        self._last = self._board.wait(RETRY_INTERVAL)
                    continue
                now = time.monotonic()
                if self._last is None and now - begun > KEPT_AFTER:
                    self._use_kept()
                if now - heard > TROUBLE_AFTER and not self._silent:
                    self._silent = True
                    text = "no controller on a manager of the swarm answers: labels of services stay as they were"
                    self._events.write("warning", text)
                self._stop.wait(RETRY_INTERVAL)

    def _use_kept(self) -> None:
        kept = self._file.load()
        if kept is not None:
            try:
                view = view_from_json(kept, self._settings.prefix)
            except ValueError as error:
                self._events.write("warning", f"labels of services that were kept are not used: {error}")
            else:
                self._events.write("docker", "no manager of the swarm answers: labels of services as they were last")
                self._tell(view)

    def _tell(self, view: SwarmView) -> None:
        self._last = entry_of(view)
        for post in self._posts:
            post(SwarmTold(view, own=False))

    def _ask_all(self, client: httpx.Client) -> bool:
        """Ask until one knows; true when one did."""
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
        known = self._last.digest if self._last and self._asked == target else ""
        nonce = secrets.token_hex(NONCE_SIZE // 2)
        secret = self._settings.secret
        headers = {NONCE: nonce, PROOF: question_proof(secret, nonce, known)}
        body = b""
        try:
            url = f"http://{join_host_port(*target)}{PATH}"
            with client.stream("GET", url, params={"known": known}, headers=headers) as answer:
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        return False
        except httpx.HTTPError:
            return False
        if answer.status_code != 200 or not proven(answer.headers.get(PROOF, ""), answer_proof(secret, nonce, body)):
            return False
        if body:
            try:
                view = view_from_json(read_json(body), self._settings.prefix)
            except ValueError as error:
                self._events.write("warning", f"the controller at {target[0]} tells what makes no sense: {error}")
                return False
            if self._last is None or entry_of(view).digest != self._last.digest:
                self._tell(view)
                self._file.save(view.to_json())
        return True
