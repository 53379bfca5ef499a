"""Answers the other controllers of the swarm: what our engine, a manager, told, and the containers of our engine.  An
edge on a thread of its own.

A question for the swarm's view names the view that its asker has already, and is answered when there is another one, so
that a change is told at once and nobody asks again and again.  Whoever can't prove to have the secret gets nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastroute.controller.swarm.board import BoardEntry, SwarmBoard
from fastroute.controller.swarm.peer_proof import NONCE, NONCE_SIZE, PROOF, answer_proof, proven, question_proof
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.runtime.listen import Listener

#: Seconds that a question waits for news.
HOLD_TIME = 20.0
PATH = "/v1/swarm"
CONTAINERS_PATH = "/v1/swarm/containers"
#: The subject of a question for containers; the subject of one for the view is a digest.
CONTAINERS = "containers"
_NONCE = re.compile(rf"[0-9a-f]{{{NONCE_SIZE}}}")
_UNPROVEN = "the proof of this question is missing or wrong: one made with the routers' secret is expected\n"


class PeerServer:
    """Serves what is on ``board``, and the JSON that ``containers`` makes, on ``listeners``, which are open already."""

    def __init__(
        self, board: SwarmBoard, secret: bytes, listeners: list[Listener], containers: Callable[[], bytes]
    ) -> None:
        self._board, self._secret, self._listeners, self._containers = board, secret, listeners, containers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        routes = [Route(PATH, self._answer, methods=["GET"]), Route(CONTAINERS_PATH, self._list, methods=["GET"])]
        self._server = AdminServer(Starlette(routes=routes))
        self._thread = threading.Thread(target=self._run, name="swarm-server", daemon=True)
        board.watch(self._on_change)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        self._thread.join(5)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.answer([listener.socket for listener in self._listeners])

        asyncio.run(serve())

    def _on_change(self, _: BoardEntry | None) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _answer(self, request: Request) -> Response:
        nonce, known = request.headers.get(NONCE, ""), request.query_params.get("known", "")[:64]
        if not self._proven(request, known):
            return PlainTextResponse(_UNPROVEN, 403)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_TIME):
                while (entry := self._board.entry) is not None and entry.digest == known:
                    await self._changed.wait()
        if entry is None:
            return PlainTextResponse("this controller's engine is no manager\n", 404)
        body = b"" if entry.digest == known else entry.body
        return self._proven_answer(nonce, body, entry.digest)

    async def _list(self, request: Request) -> Response:
        if not self._proven(request, CONTAINERS):
            return PlainTextResponse(_UNPROVEN, 403)
        return self._proven_answer(request.headers[NONCE], self._containers())

    def _proven(self, request: Request, subject: str) -> bool:
        nonce = request.headers.get(NONCE, "")
        expected = question_proof(self._secret, nonce, subject)
        return bool(_NONCE.fullmatch(nonce)) and proven(request.headers.get(PROOF, ""), expected)

    def _proven_answer(self, nonce: str, body: bytes, digest: str = "") -> Response:
        headers = {PROOF: answer_proof(self._secret, nonce, body)} | ({"ETag": digest} if digest else {})
        return Response(body, media_type="application/json", headers=headers)
