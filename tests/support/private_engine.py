"""A dockerd for one test: its own folders, socket and bridge; nothing of the machine's engine is touched."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from support.programs import wait_for

_BRIDGE, _ADDRESS = "fastroutetest0", "10.213.77.1/24"


class PrivateEngine(AbstractContextManager["PrivateEngine"]):
    """``url`` for clients.  Containers live through :meth:`restart` (live-restore), and end with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateEngine:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", _ADDRESS, "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AssertionError):
            if ids := self.docker("ps", "-aq").split():
                self.docker("rm", "-f", *ids)
        self._end()
        self._end_remains()
        for mount in sorted(self._mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        subprocess.run(["ip", "link", "del", _BRIDGE], check=False)

    def _mounts(self) -> list[str]:
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [place for place in places if place.startswith(f"{self._folder}/")]

    def _end_remains(self) -> None:
        """What a daemon that did not end well left behind: its containerd and shims name our folder."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"containerd" in words[0] and any(os.fsencode(f"{self._folder}/") in word for word in words):
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def docker(self, *argv: str) -> str:
        """The docker command's standard output."""
        done = subprocess.run(
            ["docker", "-H", self.url, *argv], capture_output=True, text=True, check=False, timeout=240
        )
        if done.returncode != 0:
            raise AssertionError(f"docker {' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def restart(self) -> None:
        """End the daemon, and start a new one over the same folders."""
        self._end()
        self._start()

    def _start(self) -> None:
        folder = self._folder
        command = ["dockerd", "--live-restore", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
                   "--pidfile", f"{folder}/pid", "--host", self.url, "--bridge", _BRIDGE, "--iptables=false",
                   "--ip-masq=false", "--config-file", f"{folder}/daemon.json"]  # fmt: skip
        (folder / "daemon.json").write_text("{}\n")
        (folder / "pid").unlink(missing_ok=True)
        with (folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._answers, f"a dockerd that answers (its log: {folder}/dockerd.log)", 60)

    def _answers(self) -> bool:
        return subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False).returncode == 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)
