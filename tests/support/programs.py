"""Real programs for tests: our router, uWSGI's FastRouter, uWSGI workers, nginx.  Each ends with its ``with`` block.

What a program printed is in ``.output()`` and in the message of any time-out, so a red test says why.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from support.waiting import DEADLINE as DEADLINE
from support.waiting import wait_for as wait_for

Value = TypeVar("Value")

ECHO_APP = """
    import os, time
    def application(environ, start_response):
        query = environ.get("QUERY_STRING", "")
        if query.startswith("sleep="):
            print("a request sleeps", flush=True)
            time.sleep(float(query[6:]))
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        size = int(query[5:]) if query.startswith("size=") else 0
        return [("%s %s %d\\n" % (NAME, environ.get("HTTP_HOST"), len(body))).encode() + b"x" * size]
"""


def _own_ports() -> Iterator[int]:
    """The ports that this process may give, in turns; two pytest at once share none.

    Below the range from which the kernel takes ports for outgoing connections: else one of those takes it meanwhile.
    """
    for part in range(PORT_PARTS):
        try:
            # Open, and so held, until the process ends.
            lock = os.open(f"{tempfile.gettempdir()}/fastroute-test-ports-{part}", os.O_CREAT | os.O_RDWR, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            continue
    else:
        raise AssertionError(f"{PORT_PARTS} pytest run already on this machine: end one")
    ports = list(range(12_000 + part, 32_000, PORT_PARTS))
    random.shuffle(ports)
    return itertools.cycle(ports)


#: Parts into which the ports of tests are cut.
PORT_PARTS = 20
_ports: Iterator[int] | None = None


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, for TCP and UDP, and that no other test was given lately."""
    global _ports
    _ports = _ports or _own_ports()
    while True:
        port = next(_ports)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(at: int | Path) -> bool:
    """Whether something accepts connections on 127.0.0.1, port ``at``, or the unix socket there."""
    with socket.socket(socket.AF_UNIX if isinstance(at, Path) else socket.AF_INET) as probe:
        return probe.connect_ex(str(at) if isinstance(at, Path) else ("127.0.0.1", at)) == 0


class Program:
    """A process in a directory of its own."""

    def __init__(self, *argv: str, env: dict[str, str] | None = None, close_fds: bool = True) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fastroute-test-"))
        self.directory.chmod(0o755)
        self.log = self.directory / "output.log"
        self._entered = False
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | (env or {}), cwd=self.directory, close_fds=close_fds,
            )  # fmt: skip

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def output(self) -> str:
        """All it printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], Value], what: str, seconds: float = DEADLINE) -> Value:
        """:func:`wait_for`, with the output in the message, and no patience with a process that ended."""

        def alive() -> Value:
            value = condition()
            assert value or self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
            return value

        try:
            return wait_for(alive, what, seconds)
        except AssertionError as error:
            if not self._entered:
                # Nobody has it yet who would end it.
                self._kill_group()
            raise AssertionError(f"{error}\n{self.output()}") from None

    def wait_line(self, text: str, seconds: float = DEADLINE) -> None:
        """Until ``text`` is in the output."""
        self.wait_for(lambda: text in self.output(), f"{text!r} in the output", seconds)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself."""
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = DEADLINE) -> int:
        """Signal it and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended(seconds)

    def ended(self, seconds: float = DEADLINE) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end within {seconds:g} s\n{self.output()}") from None

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def __exit__(self, *_: object) -> None:
        self._kill_group()
        shutil.rmtree(self.directory, ignore_errors=True)


class Router(Program):
    """Our router on a free port; ``port`` is front and subscription server, ``admin_port`` its HTTP."""

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        self.port, self.admin_port = free_port(), free_port()
        defaults = {
            "--listen": f"127.0.0.1:{self.port}",
            "--subscription-server": f"127.0.0.1:{self.port}",
            "--admin": f"127.0.0.1:{self.admin_port}",
            "--log-format": "text",
        }
        given = [word for name, value in defaults.items() if name not in options for word in (name, value)]
        super().__init__(str(Path(sys.executable).with_name("fastroute-router")), *given, *options, env=env)
        self.wait_for(lambda: listens(self.port) or "--listen" in options, "the router listens")
        self.wait_for(lambda: listens(self.admin_port) or "--admin" in options, "the router's admin answers")

    @classmethod
    def from_file(cls, file: Path, port: int, admin_port: int, *options: str) -> Router:
        """A router that gets everything from ``file``, where these ports are given, and ``options``."""
        router = cls._bare(port, admin_port, str(file), *options)
        router.wait_for(lambda: listens(port) and listens(admin_port), "the router listens")
        return router

    @classmethod
    def at(cls, port: int, admin_port: int, *options: str) -> Router:
        """A router whose subscriptions and admin are at given ports; nothing is waited for."""
        server = "--subscription-server"
        given: tuple[str, ...] = () if server in options else (server, f"127.0.0.1:{port}")
        given += ("--admin", f"127.0.0.1:{admin_port}", "--log-format", "text")
        return cls._bare(port, admin_port, *given, *options)

    @classmethod
    def _bare(cls, port: int, admin_port: int, *words: str) -> Router:
        router = cls.__new__(cls)
        router.port, router.admin_port = port, admin_port
        Program.__init__(router, str(Path(sys.executable).with_name("fastroute-router")), *words)
        return router


class Controller(Program):
    """Our controller: watches the engine at ``url`` for ``router``."""

    def __init__(self, url: str, router: Router, *options: str) -> None:
        self.admin_port = free_port()
        super().__init__(
            str(Path(sys.executable).with_name("fastroute-controller")), "--docker-host", url,
            "--router", f"127.0.0.1:{router.port}", "--admin", f"127.0.0.1:{self.admin_port}", "--log-format", "text",
            *options,
        )  # fmt: skip


class UwsgiFastRouter(Program):
    """uWSGI's own FastRouter, the original; ``port`` is front and subscription server, ``stats_port`` its stats."""

    def __init__(self, *options: str) -> None:
        self.port, self.stats_port = free_port(), free_port()
        super().__init__(
            "uwsgi", "--plugin", "fastrouter", "--fastrouter", f"127.0.0.1:{self.port}",
            "--fastrouter-subscription-server", f"127.0.0.1:{self.port}",
            "--fastrouter-stats", f"127.0.0.1:{self.stats_port}", "--master", *options,
        )  # fmt: skip
        self.wait_for(lambda: listens(self.port) and listens(self.stats_port), "uWSGI's FastRouter listens")


class UwsgiWorker(Program):
    """A real uWSGI worker that answers ``NAME HOST LENGTH-OF-BODY``; ``subscribe`` as in subscribe2's ``server``."""

    def __init__(self, name: str, *options: str, subscribe: str | None = None, app: str = ECHO_APP) -> None:
        self.name, self.port = name, free_port()
        self.address = f"127.0.0.1:{self.port}"
        code = Path(tempfile.mkdtemp(prefix="fastroute-app-")) / "app.py"
        code.write_text(f"NAME = {name!r}\n" + textwrap.dedent(app))
        code.parent.chmod(0o755)
        subscription = ["--subscribe2", subscribe] if subscribe else []
        super().__init__(
            "uwsgi", "--plugin", "python3", "--socket", self.address, "--wsgi-file", str(code), "--master",
            "--die-on-term", "--threads", "4", "--buffer-size", "65535", *subscription, *options,
        )  # fmt: skip
        self.wait_for(lambda: listens(self.port), f"uWSGI worker {name} listens")

    def kill(self) -> None:
        """SIGKILL for all its processes; back when the last one's socket is closed: only the master is our child."""
        self._kill_group()
        wait_for(lambda: not listens(self.port), f"the socket of the killed uWSGI worker {self.name} is closed")


class Nginx(Program):
    """nginx on ``port`` that passes everything to ``upstream`` (as written after ``uwsgi_pass``).

    ``params``: its uwsgi_params, else Debian's; ``program``: another nginx than the machine's; ``http``: more of
    that section; ``location``: what takes all requests instead.
    """

    def __init__(
        self,
        upstream: str,
        extra: str = "",
        params: str = "include /etc/nginx/uwsgi_params;",
        program: str = "nginx",
        http: str = "",
        location: str = "",
    ) -> None:
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="fastroute-nginx-"))
        self.home.chmod(0o777)
        config = self.home / "nginx.conf"
        config.write_text(
            textwrap.dedent(f"""
            daemon off; master_process on; worker_processes 1; pid {self.home}/nginx.pid; error_log stderr info;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                client_body_temp_path {self.home}/body; proxy_temp_path {self.home}/proxy;
                uwsgi_temp_path {self.home}/uwsgi; fastcgi_temp_path {self.home}/fcgi; scgi_temp_path {self.home}/scgi;
                {http}
                server {{
                    listen 127.0.0.1:{self.port};
                    client_max_body_size 0;
                    {location or f"location / {{ {params} uwsgi_pass {upstream}; {extra} }}"}
                }}
            }}
        """)
        )
        super().__init__(program, "-p", str(self.home), "-c", str(config))
        self.wait_for(lambda: listens(self.port), "nginx listens")
