"""The compose stack as a user sees it: one project of its own, driven through nginx and by the docker command.

Everything that is started by hand carries the project's label, so that nothing outlives the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.load import Answer, Load, ask
from support.programs import free_port, wait_for
from testcontainers.compose import DockerCompose

ROOT = Path(__file__).resolve().parents[2]
#: One project a checkout: a run that was killed is cleared away by the next.
PROJECT = "fastroute-test-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
LABEL = "test.fastroute.project"


class Stack:
    """The running stack."""

    def __init__(self, project: str, network: str, port: int, docker: Path, file: str = "compose.yaml") -> None:
        self.project, self.network, self.port = project, network, port
        self.tls_port, self.page_port = free_port(), free_port()
        #: What ``docker compose`` has to be told; nothing for the stack at the root.
        self.files = () if file == "compose.yaml" else ("-f", file)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FASTROUTE_", "COMPOSE_"))
        }
        self.environment |= {
            "COMPOSE_PROJECT_NAME": project,
            "FASTROUTE_NETWORK": network,
            "FASTROUTE_HTTP_PORT": str(port),
            "FASTROUTE_HTTPS_PORT": str(self.tls_port),
            "FASTROUTE_PAGE_PORT": str(self.page_port),
        }
        self.compose = DockerCompose(
            ROOT,
            compose_file_name=file if self.files else None,
            build=True,
            wait=True,
            docker_command_path=str(self._command(docker)),
        )

    def _command(self, path: Path) -> Path:
        """`docker` with this project's settings, for testcontainers: the tests' own environment stays as it is."""
        settings = (f"{name}={shlex.quote(value)}" for name, value in self.environment.items())
        path.write_text(f'#!/bin/sh\nexec env -i {" ".join(settings)} docker "$@"\n')
        path.chmod(0o755)
        return path

    # --- requests

    def get(self, host: str, path: str = "/", *, port: int | None = None, **more: Any) -> Answer:
        """One request to nginx, on a connection of its own; ``more`` as of :func:`support.load.ask`."""
        return ask(port or self.port, host, path, **more)

    def answered_by(self, host: str, requests: int = 12) -> Counter[str]:
        """Who answered ``requests`` requests; an answer other than 200 counts as its status."""
        answers = [self.get(host) for _ in range(requests)]
        return Counter(answer.text if answer.status == 200 else str(answer.status) for answer in answers)

    def wait_answered_by(self, host: str, names: set[str], seconds: float = 30) -> None:
        """Wait until just these answer."""
        wait_for(lambda: set(self.answered_by(host)) == names, f"{host} answered by {sorted(names)}", seconds)

    @contextmanager
    def load(self, host: str) -> Iterator[Load]:
        """A steady stream of requests while the block runs."""
        with Load(lambda: self.get(host)) as load:
            yield load

    def certificate(self, host: str) -> str:
        """The certificate that nginx has for ``host``, as PEM; empty: none."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.tls_port), timeout=5) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=host) as connection:
                    return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
            except (ssl.SSLError, ConnectionError):
                return ""

    def wait_for_certificate(self, host: str) -> str:
        """Until there is one."""
        return wait_for(lambda: self.certificate(host), f"a certificate for {host}", 60)

    # --- docker

    def docker(self, *argv: str, check: bool = True) -> str:
        """The docker command's standard output."""
        done = subprocess.run(
            ["docker", *argv],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def compose_command(self, *argv: str) -> str:
        """``docker compose`` in this project."""
        return self.docker("compose", *self.files, *argv)

    def inspect(self, name: str) -> dict[str, Any]:
        """``docker inspect`` of one container."""
        rows: list[dict[str, Any]] = json.loads(self.docker("inspect", name))
        return rows[0]

    def containers(self, *services: str, everything: bool = False) -> list[str]:
        """Names of the services' (of all) running containers (or of all that exist)."""
        more = ["-a"] if everything else []
        rows = self.compose_command("ps", *more, "--format", "{{.Name}}", *services)
        return sorted(rows.split())

    def up(self, *options: str, files: Sequence[str] = ()) -> None:
        """``docker compose up --wait``, of what is built.

        It gives up on whatever is unhealthy at that moment, as a pause or a busy machine that met a health check makes
        one until the next: all that runs must be healthy first, and who is not meanwhile has another try.
        """
        arguments = (*(files or self.files), "up", "-d", "--wait", "--no-build", *options)
        for last in (False, False, True):
            self.wait_healthy()
            try:
                self.docker("compose", *arguments)
                return
            except AssertionError as error:
                if last or "is unhealthy" not in str(error):
                    raise

    def scale(self, service: str, number: int, *options: str) -> set[str]:
        """The stack, with so many containers of ``service``: what these answer with."""
        self.up(*options, "--scale", f"{service}={number}")
        names = self.host_names(service)
        assert len(names) == number
        return names

    def wait_healthy(self, *services: str) -> None:
        """Until Docker calls all their containers so (all that run): a pause that meets a health check makes one
        unhealthy until the next."""
        names = self.containers(*services)
        asks = ("inspect", "-f", "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}", *names)
        wait_for(lambda: not names or set(self.docker(*asks).split()) == {"healthy"}, f"{', '.join(names)} healthy", 60)

    def host_name(self, container: str) -> str:
        """What the demo applications answer with."""
        name: str = self.inspect(container)["Config"]["Hostname"]
        return name

    def host_names(self, service: str) -> set[str]:
        """What the service's running containers answer with."""
        return {self.host_name(name) for name in self.containers(service)}

    def address(self, container: str) -> str:
        """The container's address on the workers' network."""
        address: str = self.inspect(container)["NetworkSettings"]["Networks"][self.network]["IPAddress"]
        return address

    def image(self, service: str) -> str:
        """The image that this project built for the service."""
        return f"{self.project}-{service}"

    @contextmanager
    def container(self, *argv: str, network: str | None = None) -> Iterator[str]:
        """``docker run -d ARGV``: the container's name; removed at the end."""
        placed = ("--label", f"{LABEL}={self.project}", "--network", network or self.network)
        identity = self.docker("run", "-d", *placed, *argv)
        try:
            yield str(self.inspect(identity)["Name"]).removeprefix("/")
        finally:
            self.docker("rm", "-f", "-v", identity, check=False)

    # --- what people ask

    def ctl(self, *argv: str, check: bool = True) -> str:
        """``docker compose exec controller fastroute-ctl``, with no further setting."""
        return self.docker("compose", *self.files, "exec", "-T", "controller", "fastroute-ctl", *argv, check=check)

    def status(self, key: str) -> dict[str, Any]:
        """The key's row of ``status -o json``; empty when the router does not know it."""
        keys = json.loads(self.ctl("status", "-o", "json"))["keys"]
        return next((row for row in keys if row["key"] == key), {})

    def ps(self, name: str) -> dict[str, Any]:
        """The container's row of ``ps -o json``; empty when it is not there."""
        rows = json.loads(self.ctl("ps", "-o", "json"))["containers"]
        return next((row for row in rows if row["name"].lstrip("/") == name), {})

    def wait_state(self, name: str, state: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until ``ps`` shows the container in ``state``."""
        seen: list[dict[str, Any]] = []

        def there() -> bool:
            seen.append(self.ps(name))
            return seen[-1].get("state") == state

        wait_for(there, f"{name} in state {state}, last seen {seen[-1:]}", seconds)
        return seen[-1]


def _remove_remains(stack: Stack) -> None:
    by_hand = stack.docker("ps", "-aq", "--filter", f"label={LABEL}={stack.project}").split()
    if by_hand:
        stack.docker("rm", "-f", "-v", *by_hand)
    stack.compose_command("down", "--volumes", "--remove-orphans", "--timeout", "5")
    # Compose removes the volumes of its own file only, and tests add others' services (compose/two-routers.yaml).
    if volumes := stack.docker("volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={stack.project}"):
        stack.docker("volume", "rm", *volumes.split())


def _build(stack: Stack) -> None:
    """The images, one at a time where stages are not shared: the classic builder would do the same work five times."""
    started = time.monotonic()
    print(f"\nbuilding the stack's images as {stack.project}-* ...", flush=True)
    done = subprocess.run(
        ["docker", "compose", *stack.files, "build", "--quiet"],
        cwd=ROOT,
        env=stack.environment | {"COMPOSE_PARALLEL_LIMIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"the images could not be built:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    print(f"built in {time.monotonic() - started:.0f} s; starting the stack", flush=True)


@contextmanager
def standing(file: str = "compose.yaml", suffix: str = "") -> Iterator[Stack]:
    """The stack of ``file``, up; afterwards gone. A second run in the same checkout waits for the first."""
    assert shutil.which("docker"), "no docker command: make test installs it"
    folder, project = Path(tempfile.gettempdir()), PROJECT + suffix
    with (folder / f"{project}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        stack = Stack(project, project, free_port(), folder / f"{project}.docker", file)
        try:
            _remove_remains(stack)
            _build(stack)
            _start(stack)
            yield stack
        finally:
            _remove_remains(stack)


def _start(stack: Stack) -> None:
    try:
        stack.compose.start()
    except subprocess.CalledProcessError as error:
        logs = stack.docker("compose", *stack.files, "logs", "--tail", "30", check=False)
        raise AssertionError(f"the stack did not come up:\n{error.stderr.decode()[-2000:]}\n{logs}") from error
    wait_for(lambda: {stack.get(host).status for host in ("foo.com", "bar.com")} == {200}, "foo.com and bar.com answer")
