"""The agent beside nginx: it tests, reloads and asks nginx what it runs, for a controller elsewhere.

``python3 -m fastroute.controller.nginx.agent``.  Nobody has to reach nginx through Docker, whose socket stays
read-only.  It listens on a unix socket (mode 0660) and
nothing else, answers root and those of its own user or group, and takes
nothing but the name of a generation below its own directory.  One request is one line of JSON, and so is the answer.
Standard library only: it goes into nginx's image.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import re
import selectors
import socket
import stat
import struct
import sys
import time
from contextlib import suppress
from typing import Any

from fastroute.controller.nginx.local import LocalNginx, Nginx, NginxUnreachable

#: Bytes of a request, at most.
MAX_LINE = 4096
#: Seconds for a line to arrive, and for its answer to be taken.
LINE_TIMEOUT = 5.0
#: Connections that may wait to be answered.
MAX_CONNECTIONS = 16
_TRANSIENT = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_GENERATION = re.compile(r"[0-9a-f]{8,64}")

log = logging.getLogger("fastroute.nginx-agent")


def main() -> int:
    """Serve until a signal ends it; the exit code of the process."""
    settings = _arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    nginx = LocalNginx(settings.conf_dir, settings.test, settings.reload, settings.status)
    try:
        listener = listen(settings.socket)
    except OSError as error:
        log.error("%s: %s", settings.socket, error)
        return 2
    log.info("listening on %s", settings.socket)
    with listener:
        server = AgentServer(listener, nginx)
        while True:
            server.turn()


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fastroute nginx agent", description="Lets a controller elsewhere test and"
                                     " reload the nginx beside which this runs.", allow_abbrev=False)  # fmt: skip
    parser.add_argument("--socket", default="/run/fastroute/nginx/agent.sock", metavar="PATH")
    parser.add_argument("--conf-dir", default="/etc/nginx/fastroute", metavar="DIR")
    parser.add_argument("--test", default="nginx -t", metavar="COMMAND")
    parser.add_argument("--reload", default="command:nginx -s reload", metavar="signal:PIDFILE|command:COMMAND")
    parser.add_argument("--status", default="127.0.0.1:3035", metavar="ADDR")
    return parser.parse_args(words)


def listen(path: str) -> socket.socket:
    """A listening socket at ``path``, in the place of one that was left there; only user and group may connect."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(f"{path} is there and no socket")
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    if (mode := stat.S_IMODE(os.stat(path).st_mode)) != 0o660:
        raise PermissionError(f"{path} has mode {mode:o} instead of 660")
    # Where the queue is full, a connect with a time-out fails at once instead of waiting.
    listener.listen(1024)
    return listener


class AgentServer:
    """Answers what arrives at ``listener``, one whole line after the other.

    A connection that sends nothing holds up no other: all are read side by side, none has more than ``LINE_TIMEOUT``
    seconds for its line, and of more than ``MAX_CONNECTIONS`` the oldest is closed.
    """

    def __init__(self, listener: socket.socket, nginx: Nginx) -> None:
        listener.setblocking(False)
        self._listener, self._nginx = listener, nginx
        self._lines: dict[socket.socket, tuple[float, bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        oldest = next(iter(self._lines.values()), None)
        timeout = None if oldest is None else max(0.0, oldest[0] + LINE_TIMEOUT - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._lines:
                self._read(key.fileobj)
        now = time.monotonic()
        for connection in [connection for connection, (since, _) in self._lines.items() if now - since >= LINE_TIMEOUT]:
            log.info("a connection sent no whole line within %g s", LINE_TIMEOUT)
            self._forget(connection)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise
            log.warning("accept: %s", error)
            time.sleep(0.1)
            return
        connection.setblocking(False)
        if len(self._lines) >= MAX_CONNECTIONS:
            log.info("%d connections wait: the oldest gives way", MAX_CONNECTIONS)
            self._forget(next(iter(self._lines)))
        self._lines[connection] = time.monotonic(), b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        since, data = self._lines[connection]
        try:
            more = connection.recv(MAX_LINE)
            data += more
            self._lines[connection] = since, data
            if more and not data.endswith(b"\n") and len(data) <= MAX_LINE:
                return
            _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            answer = answer_to(data, self._nginx) if _trusted(uid, gid) else {"error": "not for you"}
            connection.settimeout(LINE_TIMEOUT)
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except BlockingIOError:
            return
        except OSError as error:
            log.info("a connection broke off: %s", error)
        self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        del self._lines[connection]
        self._selector.unregister(connection)
        connection.close()


def answer_to(line: bytes, nginx: Nginx) -> dict[str, Any]:
    """The answer to one request."""
    try:
        request = json.loads(line) if len(line) <= MAX_LINE else None
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        return {"error": f"one line of JSON of at most {MAX_LINE} bytes expected"}
    verb, generation = request.get("verb"), request.get("generation")
    try:
        if verb == "running":
            return {"hash": nginx.running()}
        if verb not in ("test", "reload"):
            return {"error": "verb running, test or reload expected"}
        if not isinstance(generation, str) or not _GENERATION.fullmatch(generation):
            return {"error": "generation: its hash expected"}
        problem = nginx.test(generation) if verb == "test" else nginx.reload(generation)
    except NginxUnreachable as error:
        return {"error": str(error)}
    log.info("%s of %s: %s", verb, generation, problem or "done")
    return {"problem": problem}


def _trusted(uid: int, gid: int) -> bool:
    return uid in (0, os.geteuid()) or gid == os.getegid()


if __name__ == "__main__":
    sys.exit(main())
