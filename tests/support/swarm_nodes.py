"""A Docker Swarm on one machine: real dockerds, each in network and mount namespaces of its own, on a bridge of ours.

The process that makes it stands in a network namespace of its own already (scripts/swarm.sh), so that no address here
is known to the machine, and no packet can leave it: there is no route but the bridge's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from support.programs import wait_for

#: The bridge's own address, and that of node N: ``10.213.80.N``.
LAN = "10.213.80"
BRIDGE = "lan0"
#: Where overlay networks and the bridges of each node have their addresses.
_OVERLAYS, _LOCAL = "10.213.128.0/18", "10.213.96.0/19"
_START_TIMEOUT = 60
#: Of all their containers, and its share of a machine that does other things as well, which are not to be measured.
CGROUP = "fastroute-swarm"
_SHARES = 16_384
#: The same for engines and load.
_NICE = -10


class SwarmNode:
    """One engine, and how it is broken."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.name, self.address = number, f"node{number}", f"{LAN}.{number}"
        self._namespace, self._port = f"fastroute-swarm-{number}", f"port{number}"
        self._folder = folder / self.name
        self.url = f"unix://{self._folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Its namespace, its place on the bridge, and its dockerd."""
        self._folder.mkdir(exist_ok=True)
        self._forget_namespace()
        _ip("netns", "add", self._namespace)
        _ip("-n", self._namespace, "link", "set", "lo", "up")
        _ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _ip("link", "set", self._port, "master", BRIDGE, "up")
        _ip("-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self._namespace, "link", "set", "eth0", "up")
        self.start_engine()

    def start_engine(self) -> None:
        """Its dockerd, anew over the same folders if there was one."""
        folder = self._folder
        (folder / "daemon.json").write_text("{}\n")
        (folder / "pid").unlink(missing_ok=True)
        dockerd = ["dockerd", "--host", self.url, "--host", "unix:///run/docker.sock", "--data-root", f"{folder}/data",
                   "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--config-file",
                   f"{folder}/daemon.json", "--bip", f"10.213.{80 + self.number}.1/24",
                   "--default-address-pool", f"base={_LOCAL},size=24", "--cgroup-parent", f"/{CGROUP}"]  # fmt: skip
        # /run is its own: stacks mount /var/run/docker.sock, and swarmkit has sockets below /run.
        inside = 'hostname "$0" && mount --make-rprivate / && mount -t tmpfs tmpfs /run && exec "$@"'
        command = ["nsenter", f"--net=/run/netns/{self._namespace}", "unshare", "--mount", "--uts",
                   "sh", "-c", inside, self.name, *dockerd]  # fmt: skip
        with (folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._answers, f"a dockerd that answers (its log: {folder}/dockerd.log)", _START_TIMEOUT)

    def _answers(self) -> bool:
        done = subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False, timeout=30)
        return done.returncode == 0

    def docker(
        self, *argv: str, check: bool = True, stdin: bytes | None = None, timeout: float = 240, both: bool = False
    ) -> str:
        """The docker command's standard output; ``both``: and its standard error."""
        done = subprocess.run(
            ["docker", "-H", self.url, *argv], input=stdin, capture_output=True, check=False, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: docker {' '.join(argv)}: {done.stdout!r}{done.stderr!r}")
        return (done.stdout + (done.stderr if both else b"")).decode().strip()

    def container_of(self, service: str) -> str:
        """The id of the running container of ``service``; empty: there is none."""
        ids = self.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}", "--filter",
                            "status=running", check=False)  # fmt: skip
        return ids.split()[0] if ids else ""

    def inside(self, *argv: str) -> list[str]:
        """The command that runs ``argv`` in its network, as a program of its host."""
        return ["nsenter", f"--net=/run/netns/{self._namespace}", *argv]

    def cut(self) -> None:
        """Pull the plug of its network."""
        _ip("link", "set", self._port, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("link", "set", self._port, "up")

    def kill(self) -> None:
        """The machine dies: no packet from it any more, and nothing runs on."""
        self.cut()
        self._kill_all(self.docker("ps", "-q", "--no-trunc", check=False).split())
        if self._process is not None:
            self._process.wait(30)

    def end(self) -> None:
        """End it in order, and what is left of it after that."""
        ids = self.docker("ps", "-q", "--no-trunc", check=False).split() if self._answers() else []
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self._kill_all(ids)
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((place for place in places if place.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        self._forget_namespace()

    def _forget_namespace(self) -> None:
        """Its name is a file in /run, which stays where a run was killed."""
        subprocess.run(["ip", "netns", "delete", self._namespace], check=False, capture_output=True)

    def _kill_all(self, containers: Sequence[str]) -> None:
        """dockerd, its containerd and shims, which name our folder, and the processes of ``containers``."""
        ours = os.fsencode(f"{self._folder}/")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                program, *words = (process / "cmdline").read_bytes().split(b"\0")
                engine = Path(os.fsdecode(program)).name.startswith(("dockerd", "containerd"))
                group = (process / "cgroup").read_text() if containers else ""
                if (engine and any(ours in word for word in words)) or any(id in group for id in containers):
                    os.kill(int(process.name), signal.SIGKILL)


class Swarm(AbstractContextManager["Swarm"]):
    """``nodes`` engines in one swarm, the first ``managers`` of them managers; the ``images`` are on each."""

    def __init__(self, folder: Path, nodes: int = 3, managers: int = 1, images: Sequence[str] = ()) -> None:
        self._images, self._managers, self._folder = images, managers, folder
        self.nodes = [SwarmNode(number, folder) for number in range(1, nodes + 1)]

    @property
    def manager(self) -> SwarmNode:
        """The first node."""
        return self.nodes[0]

    def __enter__(self) -> Swarm:
        _take_precedence()
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        _ip("link", "set", "lo", "up")
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{LAN}.254/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        with ThreadPoolExecutor() as threads:
            list(threads.map(SwarmNode.start, self.nodes))
        first = self.manager
        first.docker("swarm", "init", "--advertise-addr", first.address, "--default-addr-pool", _OVERLAYS,
                     "--default-addr-pool-mask-length", "24")  # fmt: skip
        for node in self.nodes[1:]:
            role = "manager" if node.number <= self._managers else "worker"
            token = first.docker("swarm", "join-token", "-q", role)
            node.docker("swarm", "join", "--token", token, "--advertise-addr", node.address, f"{first.address}:2377")
        if self._images:
            self._load()

    def _load(self) -> None:
        """From the machine's own engine, which is only read from."""
        archive = self._folder / "images.tar"
        subprocess.run(["docker", "save", "-o", str(archive), *self._images], check=True, timeout=240)
        for node in self.nodes:
            node.docker("load", "-q", "-i", str(archive))
        archive.unlink()

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(SwarmNode.end, self.nodes))
        _forget_cgroups()

    def inspect(self, kind: str, *names: str) -> list[dict[str, Any]]:
        """``docker KIND inspect`` at the manager."""
        objects: list[dict[str, Any]] = json.loads(self.manager.docker(kind, "inspect", *names))
        return objects


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)


def _take_precedence() -> None:
    """This process and what it starts, and the containers, come before what else the machine does, where it lets us."""
    with suppress(OSError):
        os.nice(_NICE - os.nice(0))
    groups = Path("/sys/fs/cgroup")
    # Version 2 counts in hundredths where the first counts in 1024ths.
    folder, file, share = groups / "cpu", "cpu.shares", _SHARES
    if (groups / "cgroup.controllers").exists():
        folder, file, share = groups, "cpu.weight", _SHARES * 100 // 1024
    with suppress(OSError):
        (folder / CGROUP).mkdir(exist_ok=True)
        (folder / CGROUP / file).write_text(f"{share}")


def _forget_cgroups() -> None:
    """Engines that were killed leave those of their containers behind."""
    groups = Path("/sys/fs/cgroup")
    for top in (groups / CGROUP, *groups.glob(f"*/{CGROUP}")):
        for folder in (*(path for path in top.glob("*") if path.is_dir()), top):
            with suppress(OSError):
                folder.rmdir()
