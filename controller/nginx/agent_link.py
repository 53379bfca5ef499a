"""The controller's end of the agent beside nginx: an :class:`~.local.Nginx` at the other side of a unix socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from fastroute.controller.nginx.local import NginxUnreachable
from fastroute.router.runtime.json_text import read_json

#: Seconds, and longer than the agent takes for anything: a test, or a proof that fails.
_ANSWER_TIMEOUT = 90.0
_MAX_ANSWER = 100_000


class AgentNginx:
    """nginx by way of its agent's socket at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def test(self, generation: str) -> str:
        """See :class:`~.local.Nginx`."""
        return str(self._ask(verb="test", generation=generation).get("problem", ""))

    def reload(self, generation: str) -> str:
        """See :class:`~.local.Nginx`."""
        return str(self._ask(verb="reload", generation=generation).get("problem", ""))

    def running(self) -> str:
        """See :class:`~.local.Nginx`."""
        return str(self._ask(verb="running").get("hash", ""))

    def _ask(self, **request: str) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_ANSWER_TIMEOUT)
                connection.connect(self._path)
                connection.sendall(json.dumps(request).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n") and len(data) < _MAX_ANSWER and (more := connection.recv(65536)):
                    data += more
            answer = read_json(data)
        except (OSError, ValueError) as error:
            raise NginxUnreachable(f"nginx's agent at {self._path} does not answer: {error}") from None
        if not isinstance(answer, dict) or "error" in answer:
            raise NginxUnreachable(
                f"nginx's agent at {self._path}: {answer['error'] if isinstance(answer, dict) else 'no object'}"
            )
        return answer
