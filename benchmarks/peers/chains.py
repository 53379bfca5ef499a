"""Ways from a client to the workers: our own, as the stack has them.  All on loopback, all ended with their block."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.accounting import tree
from benchmarks.programs import KEY, accepts, answers, free_port, running, wait_until
from fastroute.controller.desired import Route
from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.nginx_config import GENERATION, ConfigState, NginxOptions, render
from fastroute.controller.nginx_mode.user_templates import built_in
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.subscription import Entry


@dataclass(frozen=True, slots=True)
class Chain:
    """What is measured: a port for clients, and the processes between it and the workers."""

    name: str
    port: int
    roots: tuple[int, ...]

    @property
    def pids(self) -> list[int]:
        """All processes, with their children."""
        return [pid for root in self.roots for pid in tree(root)]


@contextlib.contextmanager
def http_workers(folder: Path, port: int = 0) -> Iterator[int]:
    """The smallest HTTP worker (http_worker.c), which keeps connections, on every loopback address; its port."""
    program, port = folder / "http_worker", port or free_port()
    source = Path(__file__).parents[1] / "http_worker.c"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", str(program), str(source)], check=True)
    with running([str(program), str(port)], folder):
        wait_until(partial(accepts, port), "the HTTP worker listens")
        yield port


@contextlib.contextmanager
def router(
    folder: Path, program: str, front: str, kind: str, node: str, *more: str, admin: str = "none"
) -> Iterator[tuple[int, str]]:
    """Our router with one front (``uwsgi`` or ``http``) on ``tcp`` or a ``unix`` socket; its pid and the address."""
    address = str(folder / f"front-{free_port()}.sock") if kind == "unix" else f"127.0.0.1:{free_port()}"
    unused = str(folder / f"unused-{free_port()}.sock")
    fronts = ["--listen", address] if front == "uwsgi" else ["--listen", unused, "--listen-http", address]
    words = ["--subscription-server", "none", "--admin", admin, "--log-level", "warning", "--http-keep-slashes"]
    with running([program, *fronts, *words, "--node", node, *more], folder) as process:
        reached = partial(Path(address).exists) if kind == "unix" else partial(accepts, int(address.rpartition(":")[2]))
        wait_until(reached, "fastroute-router listens")
        yield process.pid, address


@contextlib.contextmanager
def nginx_before_router(folder: Path, front: str, address: str) -> Iterator[tuple[int, int]]:
    """nginx as the stack configures it, whatever is behind the router; its pid and port."""
    port, home = free_port(), folder / f"nginx-{free_port()}"
    home.mkdir()
    text = main_file(MainFileOptions((address,), front, (f"127.0.0.1:{port}",)), built_in())
    with plain_nginx(folder, home, text) as process:
        wait_until(partial(accepts, port), "nginx listens")
        yield process.pid, port


@contextlib.contextmanager
def nginx_before(folder: Path, front: str, address: str) -> Iterator[tuple[int, int]]:
    """nginx as the stack configures it, once a worker answers behind the router; its pid and port."""
    port, home = free_port(), folder / f"nginx-{free_port()}"
    home.mkdir()
    text = main_file(MainFileOptions((address,), front, (f"127.0.0.1:{port}",)), built_in())
    with _nginx(folder, home, port, text) as pid:
        yield pid, port


@contextlib.contextmanager
def nginx_mode(folder: Path, protocol: str, worker: int) -> Iterator[Chain]:
    """nginx as nginx mode configures it, before the worker at this port."""
    port, home = free_port(), folder / f"nginx-{free_port()}"
    (home / "generation" / "keys").mkdir(parents=True)
    entry = Entry(KEY, f"127.0.0.1:{worker}", owner="1@1", options=NodeOptions(protocol=protocol))
    route = Route(entry, "web-1")
    options = NginxOptions((f"127.0.0.1:{port}",), f"127.0.0.1:{free_port()}")
    for name, text in render(ConfigState({route.id: route}), built_in(), options).files.items():
        (home / "generation" / name).write_text(text.replace(GENERATION, str(home / "generation")))
    text = main_file(MainFileOptions(conf_dir=str(home / "generation")), built_in())
    with _nginx(folder, home, port, text) as pid:
        yield Chain(f"fastroute, nginx mode, {protocol} workers", port, (pid,))


@contextlib.contextmanager
def plain_nginx(folder: Path, home: Path, text: str, reloads: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """nginx with this configuration in ``home``, without an access log: one process, or two where it ``reloads``."""
    text = text.replace("worker_processes auto;", "worker_processes 1;").replace("/var/log/nginx/error.log", "stderr")
    text = text.replace("access_log /var/log/nginx/access.log fastroute;", "access_log off;")
    how = "user root;" if reloads else "master_process off;"
    (home / "nginx.conf").write_text(f"daemon off;\n{how}\npid {home}/pid;\n{text}")
    with running(["nginx", "-p", str(home), "-e", "stderr", "-c", str(home / "nginx.conf")], folder) as process:
        yield process


@contextlib.contextmanager
def _nginx(folder: Path, home: Path, port: int, text: str) -> Iterator[int]:
    """nginx as :func:`plain_nginx` has it, once a worker answers behind it; its pid."""
    with plain_nginx(folder, home, text) as process:
        wait_until(partial(answers, port, process), "nginx -> worker answers")
        yield process.pid


@contextlib.contextmanager
def alone(folder: Path, program: str, protocol: str, worker: int) -> Iterator[Chain]:
    """Our router's HTTP front without a proxy before it."""
    node = f"{KEY}=127.0.0.1:{worker},protocol={protocol}"
    with router(folder, program, "http", "tcp", node) as (pid, address):
        port = int(address.rpartition(":")[2])
        yield Chain(f"fastroute, HTTP front alone, {protocol} workers", port, (pid,))


@contextlib.contextmanager
def ours(folder: Path, program: str, name: str, front: str, kind: str, protocol: str, worker: int) -> Iterator[Chain]:
    """nginx and our router before the worker at this port."""
    node = f"{KEY}=127.0.0.1:{worker},protocol={protocol}"
    with (
        router(folder, program, front, kind, node) as (pid, address),
        nginx_before(folder, front, address) as (nginx, port),
    ):
        yield Chain(name, port, (nginx, pid))
