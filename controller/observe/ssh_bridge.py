"""An engine behind ``ssh://[user@]host[:port]``, as a unix socket of our own.  An edge.

Each connection to the socket becomes one ``ssh HOST docker system dial-stdio``, as Docker's own client does it, with
the connection itself as its standard input and output: nothing here copies bytes.  The SDK's way would need paramiko,
and does not read ``~/.ssh/config``.  Keys, known hosts and connection sharing are the ssh program's business.
"""

from __future__ import annotations

import logging
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

#: A password prompt would hang for ever; a host that is off is found out within 10 s, a dead connection in 45.
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15")
_COMMAND = "docker system dial-stdio"
_MOMENT = 0.5

log = logging.getLogger("fastroute.controller.observe.ssh_bridge")


class SshBridge:
    """The engine at ``url`` (ssh), reachable at :attr:`url` from construction to :meth:`close`."""

    def __init__(self, url: str) -> None:
        self._argv, self._remote = command(url), url
        self._folder = tempfile.mkdtemp(prefix="fastroute-ssh-")
        path = Path(self._folder, "docker.sock")
        self.url = f"unix://{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._said = ""
        self._failures: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._accept, name="ssh-bridge", daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for child in list(self._children):
            child.terminate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    child = subprocess.Popen(
                        self._argv,
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=subprocess.PIPE,
                        # Ctrl-C is for the controller, which ends them itself.
                        start_new_session=True,
                    )
                except OSError as error:
                    self._say(f"ssh can't be started: {error}")
                    continue
            self._children.add(child)
            threading.Thread(target=self._wait, args=(child,), name="ssh", daemon=True).start()

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        _, errors = child.communicate()
        self._children.discard(child)
        lines = errors.decode(errors="replace").strip().splitlines()
        if child.returncode and lines and not self._closed:
            self._say(lines[-1])

    def why(self) -> str:
        """What ssh said when it failed just now (it may take a moment to end after its connection has)."""
        text = ""
        with suppress(queue.Empty):
            text = self._failures.get(timeout=_MOMENT)
            while True:
                text = self._failures.get_nowait()
        return text

    def _say(self, text: str) -> None:
        """Once, as it will be the same at each new attempt."""
        self._failures.put(text)
        if text != self._said:
            self._said = text
            log.warning("%s: %s", self._remote, text)


def command(url: str) -> list[str]:
    """The command line for ``url``."""
    parts = urlsplit(url)
    user = ["-l", parts.username] if parts.username else []
    port = ["-p", str(parts.port)] if parts.port else []
    return ["ssh", *_OPTIONS, *user, *port, "--", parts.hostname or "", _COMMAND]
