"""What systemd is for a router: whoever holds its sockets and passes them on, and hears what it says."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from support.programs import Program

#: What happens between fork and exec: the sockets are 3, 4, ..., and it is said whose they are.
BOOTSTRAP = """
import os, sys
fds, argv = list(map(int, sys.argv[1].split(","))), sys.argv[2:]
high = [os.dup2(fd, 100 + at) for at, fd in enumerate(fds)]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at, inheritable=True)
os.environ |= {"LISTEN_FDS": str(len(fds)), "LISTEN_PID": str(os.getpid())}
os.execv(argv[0], argv)
"""


class FakeSystemd:
    """``port``: front and subscriptions, fd://3 and fd://4; ``admin_port``: fd://5; ``unix``: a second front, fd://6."""

    def __init__(self, folder: Path) -> None:
        self.front = socket.create_server(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.subscriptions = socket.socket(type=socket.SOCK_DGRAM)
        self.subscriptions.bind(("127.0.0.1", self.port))
        self.admin = socket.create_server(("127.0.0.1", 0))
        self.admin_port = self.admin.getsockname()[1]
        self.unix = str(folder / "front.sock")
        self.second = socket.socket(socket.AF_UNIX)
        self.second.bind(self.unix)
        os.chmod(self.unix, 0o666)
        self.second.listen(4096)
        self.address = str(folder / "notify.sock")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self.address)
        self._notify.settimeout(20)

    def start(self, *argv: str, **environment: str) -> Program:
        """Start a program as systemd does."""
        fds = [sock.fileno() for sock in (self.front, self.subscriptions, self.admin, self.second)]
        for fd in fds:
            os.set_inheritable(fd, True)
        words = [sys.executable, "-c", BOOTSTRAP, ",".join(map(str, fds)), *argv]
        return Program(*words, env=environment, close_fds=False)

    def start_router(self, *options: str, **environment: str) -> Program:
        """Start a router on all sockets."""
        program = str(Path(sys.executable).with_name("fastroute-router"))
        fixed = ("--listen", "fd://3", "--listen", "fd://6", "--subscription-server", "fd://4", "--admin", "fd://5")
        return self.start(program, *fixed, "--log-format", "text", *options, **environment)

    def hears(self) -> list[str]:
        """Lines of the next message that is no mere sign of life."""
        while (lines := self._notify.recv(4096).decode().split("\n")) == ["WATCHDOG=1"]:
            pass
        return lines

    def hears_life(self) -> None:
        """Until the next sign of life."""
        while self._notify.recv(4096) != b"WATCHDOG=1":
            pass

    def close(self) -> None:
        """Close all sockets."""
        for sock in (self.front, self.subscriptions, self.admin, self.second, self._notify):
            sock.close()
