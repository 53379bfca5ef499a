"""The programs side by side: workers, routers, nginx in front of each.  All on loopback, all ended with their block."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.accounting import tree
from fastroute.router.protocol.wire import encode_packet, encode_vars

OURS, THEIRS, FLOOR, NONE = "fastroute", "uWSGI fastrouter", "C relay", "no router"
KEY = "foo.com"
BACKLOG = 1024
#: Lines at the end of a program's log that are shown when it does not start.
LOG_LINES = 12
APPLICATION = """
CHUNK = b"x" * 65536
def application(environ, start):
    path = environ["PATH_INFO"]
    if path.startswith("/size/"):
        size = int(path[6:])
        start("200 OK", [("Content-Length", str(size))])
        return pieces(size)
    if environ.get("CONTENT_LENGTH"):
        body, size = environ["wsgi.input"], 0
        while data := body.read(65536):
            size += len(data)
        start("200 OK", [("Content-Length", str(len(str(size))))])
        return [str(size).encode()]
    start("200 OK", [("Content-Length", "5")])
    return [b"hello"]
def pieces(size):
    while size > 0:
        yield CHUNK[:size]
        size -= 65536
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a router (or none), and the port of nginx in front of it."""

    name: str
    pid: int
    front: str
    port: int

    @property
    def pids(self) -> list[int]:
        """All processes of the router."""
        return tree(self.pid) if self.pid else []


def free_port() -> int:
    """A TCP and UDP port nobody uses now, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(command: list[str], folder: Path, fds: Iterable[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` with all the descriptors it may have, until the block ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    log = (folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log").open("wb")
    with log, subprocess.Popen(
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, pass_fds=tuple(fds),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard)),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT if "uwsgi" in command[0] else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def log_in_error(folder: Path, program: str) -> Iterator[None]:
    """If what is waited for in the block does not come, the error has the end of the log of ``program``, too."""
    try:
        yield
    except RuntimeError as error:
        log = max(folder.glob(f"{Path(program).name}-*.log"), key=lambda path: path.stat().st_mtime_ns)
        end = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise RuntimeError(f"{error}; {program} logged\n{end}") from None


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Until ``condition()`` is true; :class:`RuntimeError` with ``what`` otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if condition():
                return
        time.sleep(0.05)
    raise RuntimeError(f"not within {seconds:g} s: {what}")


@contextlib.contextmanager
def workers(folder: Path) -> Iterator[int]:
    """Two uWSGI worker processes on every loopback address; their port."""
    (folder / "app.py").write_text(APPLICATION)
    port = free_port()
    command = ["uwsgi-core", "--plugin", "python3", "--master", "--socket", f"0.0.0.0:{port}", "--processes", "2",
               "--listen", str(BACKLOG), "--wsgi-file", str(folder / "app.py"), "--disable-logging", "--need-app",
               "--buffer-size", "32768"]  # fmt: skip
    with running(command, folder):
        yield port


def announce(port: int, nodes: Iterable[tuple[str, str]], stats: str) -> None:
    """Tell the router at UDP ``port`` of every (key, address), as uWSGI workers do, until its stats show them all."""
    wanted = list(nodes)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, (key, address) in enumerate(wanted):
            pairs = [(b"key", key.encode()), (b"address", address.encode()), (b"modifier1", b"0")]
            sender.sendto(encode_packet(224, 0, encode_vars(pairs)), ("127.0.0.1", port))
            if number % 50 == 49:
                time.sleep(0.015)

    def told() -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(stats)
            data = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        return sum(len(pool["nodes"]) for pool in json.loads(data)["subscriptions"]) >= len(wanted)

    wait_until(told, f"{len(wanted)} nodes known at port {port}")


def _front(folder: Path, kind: str, name: str) -> str:
    return str(folder / f"{name}.sock") if kind == "unix" else f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def ours(
    folder: Path, kind: str, processes: int, nodes: Iterable[tuple[str, str]], program: str
) -> Iterator[tuple[int, str]]:
    """``fastroute-router`` (``program``) with ``nodes``; its master's pid and its front."""
    number, port = time.monotonic_ns(), free_port()
    front, stats = _front(folder, kind, f"ours-{number}"), str(folder / f"stats-{number}.sock")
    command = [program, "--listen", front, "--subscription-server", f"127.0.0.1:{port}", "--admin", "none",
               "--stats", stats, "--processes", str(processes), "--tolerance", "100000",
               "--log-level", "warning"]  # fmt: skip
    with running(command, folder) as process:
        with log_in_error(folder, program):
            wait_until(lambda: os.path.exists(stats), "fastroute-router is up")
            announce(port, nodes, stats)
        yield process.pid, front


@contextlib.contextmanager
def theirs(folder: Path, kind: str, processes: int, nodes: Iterable[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """uWSGI's FastRouter with ``nodes``; its master's pid and its front."""
    number, port = time.monotonic_ns(), free_port()
    front, stats = _front(folder, kind, f"theirs-{number}"), str(folder / f"stats-{number}.sock")
    command = ["uwsgi-core", "--plugin", "fastrouter", "--master", "--fastrouter", front, "--listen", str(BACKLOG),
               "--fastrouter-subscription-server", f"127.0.0.1:{port}", "--subscription-tolerance", "100000",
               "--fastrouter-stats", stats, "--fastrouter-processes", str(processes)]  # fmt: skip
    with running(command, folder) as process:
        wait_until(lambda: os.path.exists(stats), "uWSGI's FastRouter is up")
        announce(port, nodes, stats)
        yield process.pid, front


def compile_floor(folder: Path) -> Path:
    """The minimal relay, compiled."""
    program = folder / "relay"
    source = Path(__file__).with_name("relay.c")
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
    return program


@contextlib.contextmanager
def floor(folder: Path, kind: str, processes: int, worker: int) -> Iterator[tuple[int, str]]:
    """The minimal relay in C; its pid and its front."""
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as listener:
        front = str(folder / f"floor-{time.monotonic_ns()}.sock") if kind == "unix" else ""
        listener.bind(front or ("127.0.0.1", 0))
        listener.listen(4096)
        listener.setblocking(False)
        number = listener.fileno()
        command = [str(compile_floor(folder)), "127.0.0.1", str(worker), str(processes), str(number)]
        with running(command, folder, [number]) as process:
            yield process.pid, front or f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def nginx(folder: Path, fronts: list[tuple[str, int, str]]) -> Iterator[list[Subject]]:
    """One nginx with a port for each (name, pid, front), all else equal."""
    subjects = [Subject(name, pid, front, free_port()) for name, pid, front in fronts]
    servers = "".join(
        f"server {{ listen 127.0.0.1:{subject.port} backlog=4096; location / {{ include /etc/nginx/uwsgi_params;"
        f" uwsgi_request_buffering off; uwsgi_max_temp_file_size 0; client_max_body_size 0;"
        f" uwsgi_pass {'unix:' if '/' in subject.front else ''}{subject.front}; }} }}\n"
        for subject in subjects
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;\n"
        "events { worker_connections 8192; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/b;"
        f" uwsgi_temp_path {folder}/u; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;"
        f" scgi_temp_path {folder}/s;\n{servers}}}\n"
    )
    with running(["nginx", "-p", str(folder), "-c", str(configuration)], folder) as process:
        for subject in subjects:
            wait_until(partial(answers, subject.port, process), f"nginx -> {subject.name} -> worker answers")
        yield subjects


def accepts(port: int) -> bool:
    """Whether something listens at ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, nginx: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether the workers' greeting comes from ``port``; :class:`RuntimeError` when its ``nginx`` has ended."""
    if nginx is not None and nginx.poll() is not None:
        raise RuntimeError(f"nginx ended with {nginx.returncode}; perhaps port {port} is taken")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": KEY})
        return connection.getresponse().read() == b"hello"


def our_program() -> str:
    """The installed ``fastroute-router`` of this Python."""
    return str(Path(sys.executable).with_name("fastroute-router"))


@contextlib.contextmanager
def idle_clients(front: str, count: int, begin: bytes = b"\0") -> Iterator[None]:
    """``count`` connections to a router's front that sent ``begin`` and then nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket(socket.AF_UNIX if "/" in front else socket.AF_INET))
            host, _, port = front.rpartition(":")
            client.connect(front if "/" in front else (host, int(port)))
            client.send(begin)
        time.sleep(0.5)
        yield
