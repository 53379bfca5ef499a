"""The agent beside nginx: tests, reloads and looks, for a controller elsewhere.

``python3 -m fastroute.controller.nginx.agent``.  Nobody has to reach nginx through Docker, whose socket stays
read-only.  It listens on a unix socket (mode 0660) and
nothing else, answers root and those of its own user or group, and takes
nothing but the name of a generation below its own directory.  One request is one line of JSON, and so is the answer.
Standard library only: it goes into nginx's image.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import socket
import stat
import struct
import sys
from contextlib import suppress
from typing import Any

from fastroute.controller.nginx.local import CannotAsk, LocalNginx, Nginx

LIMIT = 4096
_PATIENCE = 5.0
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
        while True:
            serve_one(listener, nginx)


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
    listener.listen(16)
    return listener


def serve_one(listener: socket.socket, nginx: Nginx) -> None:
    """Answer one connection; whatever is wrong with it ends it and nothing else."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_PATIENCE)
        try:
            _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            answer = {"error": "not for you"} if not _trusted(uid, gid) else answer_to(read_line(connection), nginx)
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except OSError as error:
            log.info("a connection broke off: %s", error)


def read_line(connection: socket.socket) -> bytes:
    """One line of at most ``LIMIT`` bytes."""
    data = b""
    while not data.endswith(b"\n") and len(data) <= LIMIT and (more := connection.recv(LIMIT)):
        data += more
    return data


def answer_to(line: bytes, nginx: Nginx) -> dict[str, Any]:
    """The answer to one request."""
    try:
        asked = json.loads(line) if len(line) <= LIMIT else None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        return {"error": f"one line of JSON of at most {LIMIT} bytes expected"}
    verb, generation = asked.get("verb"), asked.get("generation")
    try:
        if verb == "running":
            return {"hash": nginx.running()}
        if verb not in ("test", "reload"):
            return {"error": "verb running, test or reload expected"}
        if not isinstance(generation, str) or not _GENERATION.fullmatch(generation):
            return {"error": "generation: its hash expected"}
        problem = nginx.test(generation) if verb == "test" else nginx.reload(generation)
    except CannotAsk as error:
        return {"error": str(error)}
    log.info("%s of %s: %s", verb, generation, problem or "done")
    return {"problem": problem}


def _trusted(uid: int, gid: int) -> bool:
    return uid in (0, os.geteuid()) or gid == os.getegid()


if __name__ == "__main__":
    sys.exit(main())
