"""``docker`` and ``docker compose`` over the fake engine: what a rollout calls of them, and failures on demand.

The program on the PATH hands its arguments to the test's process, which does what they say to a
:class:`~support.fake_docker.FakeDocker`.  Each container has a worker on loopback that answers as its version does.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.fake_container import FakeContainer
from support.fake_docker import FakeDocker
from support.workers import Script, Worker, answers

_PROGRAM = """#!{python} -S
import json, os, socket, sys
if sys.argv[1] == "exec":
    for program in ("CONTROLLER", "ROUTER"):
        os.environ[f"FASTROUTE_{{program}}_URL"] = os.environ.get(f"TEST_{{program}}_URL", "")
    os.execvp(sys.argv[4], sys.argv[4:])
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect({path!r})
    sock.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = b"".join(iter(lambda: sock.recv(65536), b""))
code, out, err = json.loads(answer)
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class FakeCompose:
    """Service ``web`` of the project ``shop``; ``version`` is what the next containers are made of.

    * ``spec``: more of the service, as ``docker compose config`` shows it.
    * ``script``: what a worker of a version does; ``labels``: more labels of its containers.
    * ``failing``: verbs (``up``, ``stop``, ...) that fail with this text; ``before``: called with each verb first.
    """

    def __init__(self, docker: FakeDocker, folder: Path) -> None:
        self.docker, self.version, self.spec = docker, "1", dict[str, Any]()
        self.scripts: dict[str, Script] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.failing: dict[str, str] = {}
        self.before: Callable[[str], object] = lambda verb: None
        self.asked: list[list[str]] = []
        self._workers: dict[str, Worker] = {}
        self._number, self._lock = 0, threading.Lock()
        path = folder / "compose.sock"
        (folder / "bin").mkdir()
        program = folder / "bin/docker"
        program.write_text(_PROGRAM.format(python=sys.executable, path=str(path)))
        program.chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "XDG_STATE_HOME": str(folder / "state"),
        }  # fmt: skip
        compose = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = compose.answer(json.loads(self.rfile.readline()))
                try:
                    self.wfile.write(json.dumps(answer).encode())
                except OSError:
                    pass  # who asked was killed

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it, and the workers."""
        self._server.shutdown()
        self._server.server_close()
        for worker in self._workers.values():
            worker.close()

    @property
    def containers(self) -> list[FakeContainer]:
        """Those of the service, the oldest first."""
        own = [container for container in self.docker.containers.values() if "test.version" in container.labels]
        return sorted(own, key=lambda container: (container.created, container.name))

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [container.name for container in self.containers]

    def versions(self) -> list[str]:
        """Of which version each is."""
        return [container.labels["test.version"] for container in self.containers]

    def requests(self, name: str) -> int:
        """Those that the worker of container ``name`` has got."""
        return len(self._workers[name].requests)

    def answer(self, words: list[str]) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ``docker WORDS``."""
        self.asked.append(words)
        verb = next((word for word in words if word in _VERBS), "?")
        self.before(verb)
        if verb in self.failing:
            return 1, "", f"{self.failing[verb]}\n"
        with self._lock:
            return 0, getattr(self, f"_{verb}")(words), ""

    def scale(self, number: int) -> None:
        """Start containers of the present version until there are so many."""
        while len(self.containers) < number:
            self._number += 1
            name = f"shop-web-{self._number}"
            script = self.scripts.get(self.version) or answers(self.version.encode())
            worker = self._workers[name] = Worker(script)
            labels = {
                "fastroute.key": "foo.com", "fastroute.probe": "tcp", "test.version": self.version,
                "fastroute.port": worker.address.rpartition(":")[2], "com.docker.compose.project": "shop",
                "com.docker.compose.service": "web", "com.docker.compose.config-hash": self._hash,
                **self.labels.get(self.version, {}),
            }  # fmt: skip
            self.docker.run(name, labels, address="127.0.0.1")

    @property
    def _hash(self) -> str:
        return f"hash-{self.version}"

    def _config(self, words: list[str]) -> str:
        if "--hash" in words:
            return f"web {self._hash}\n"
        service = {"image": "shop", "deploy": {"replicas": 1}, **self.spec}
        return json.dumps({"name": "shop", "services": {"web": service, "database": {"image": "postgres"}}})

    def _up(self, words: list[str]) -> str:
        scales = [word.partition("=")[2] for word in words if word.startswith("web=")]
        self.scale(int(scales[0]) if scales else 1)
        return ""

    def _build(self, words: list[str]) -> str:
        return ""

    _pull = _build

    def _ps(self, words: list[str]) -> str:
        if "-a" not in words:
            # Where a controller runs, and its routers.
            return (
                "router0\n" if "label=fastroute.role=router" in words else 'controller0\tfr\t"fastroute-controller"\n'
            )
        return "".join(f"{container.id}\n" for container in self.containers)

    def _image(self, words: list[str]) -> str:
        return f"sha256:{self.version}\n"

    def _inspect(self, words: list[str]) -> str:
        containers = [container for container in self.containers if container.id in words]
        return json.dumps(
            [{**container.inspect(), "Image": f"sha256:{container.labels['test.version']}"} for container in containers]
        )

    def _stop(self, words: list[str]) -> str:
        for container in self.containers:
            if container.id in words and container.alive:
                self.docker.stop_container(container)
                self._workers[container.name].close()
        return ""

    def _rm(self, words: list[str]) -> str:
        for container in self.containers:
            if container.id in words:
                assert not container.alive, f"{container.name} runs"
                self.docker.remove(container)
        return ""


_VERBS = ("config", "up", "build", "pull", "ps", "image", "inspect", "stop", "rm")
