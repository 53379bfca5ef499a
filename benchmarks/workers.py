"""``python -m benchmarks.workers``: what a request costs with each kind of worker, beside nginx talking to it directly.

Each worker is asked in three ways, in alternating rounds: nginx alone, nginx and our router, nginx and uWSGI's own
(uwsgi workers only).  The figures are CPU microseconds a request, of router, nginx and worker apart.  One nginx, one
relay; nginx keeps connections to HTTP workers (``keepalive``), as our relay does.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import load, programs
from benchmarks.accounting import machine, tree, usage
from benchmarks.programs import APPLICATION, KEY, OURS, THEIRS, free_port, running, wait_until
from benchmarks.report import aligned

DIRECT = "nginx alone"
ASGI = """
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
"""
NODE = """
require("http").createServer((request, response) => {
  response.writeHead(200, {"Content-Length": 5});
  response.end("hello");
}).listen(Number(process.argv[2]), "127.0.0.1");
"""
GUNICORN = "gunicorn --bind 127.0.0.1:{port} --workers 1 --threads 8 --keep-alive 60 app:application"
#: name -> protocol, command
WORKERS = {
    "uWSGI": ("uwsgi", "uwsgi-core --plugin python3 --master --processes 2 --socket 127.0.0.1:{port} --listen 1024"
                       " --wsgi-file app.py --disable-logging --buffer-size 32768"),
    "gunicorn, uwsgi": ("uwsgi", f"{GUNICORN} --protocol uwsgi"),
    "gunicorn, uwsgi, --keep-alive 0": ("uwsgi", f"{GUNICORN} --protocol uwsgi --keep-alive 0"),
    "gunicorn": ("http", GUNICORN),
    "gunicorn, --keep-alive 0": ("http", f"{GUNICORN} --keep-alive 0"),
    "uvicorn": ("http", "uvicorn --host 127.0.0.1 --port {port} --no-access-log --log-level warning asgi:application"),
    "hypercorn": ("http", "hypercorn --bind 127.0.0.1:{port} asgi:application"),
    "granian": ("http", "granian --interface asgi --host 127.0.0.1 --port {port} --log-level error asgi:application"),
    "Node": ("http", "node app.js {port}"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to a worker: nginx's port, and the processes whose CPU counts, by name."""

    worker: str
    name: str
    port: int
    pids: dict[str, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """Requests a second, those that failed, and CPU seconds a request by name."""

    rate: float
    failed: int
    cpu: dict[str, float]


@contextlib.contextmanager
def nginx(folder: Path, fronts: dict[tuple[str, str], str]) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
    """One nginx; its pid, and its port for each of ``fronts``: what to pass requests to, as in its configuration."""
    ports = {way: free_port() for way in fronts}
    upstreams, servers = [], []
    for number, (way, front) in enumerate(fronts.items()):
        directive, _, address = front.partition(" ")
        kept = "keepalive 64;" if directive == "proxy_pass" else ""
        upstreams.append(f"upstream u{number} {{ server {address}; {kept} }}")
        scheme = "http://" if directive == "proxy_pass" else ""
        servers.append(
            f"server {{ listen 127.0.0.1:{ports[way]} backlog=4096; location / {{ include /etc/nginx/uwsgi_params;"
            ' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;'
            f" proxy_set_header X-Forwarded-For $remote_addr; {directive} {scheme}u{number}; }} }}"
        )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;\n"
        f"events {{ worker_connections 8192; }}\nhttp {{ access_log off; keepalive_requests 100000000;"
        f" uwsgi_temp_path {folder}/u; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;"
        f" client_body_temp_path {folder}/b; scgi_temp_path {folder}/s;\n" + "\n".join(upstreams + servers) + "\n}\n"
    )
    with running(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder) as process:
        yield process.pid, ports


@contextlib.contextmanager
def ways(folder: Path, names: list[str], router: str) -> Iterator[list[Way]]:
    """Every way to every worker of ``names``, all of them running."""
    (folder / "app.py").write_text(APPLICATION)
    (folder / "asgi.py").write_text(ASGI)
    (folder / "app.js").write_text(NODE)
    with contextlib.ExitStack() as stack:
        pids: dict[tuple[str, str], dict[str, int]] = {}
        fronts: dict[tuple[str, str], str] = {}
        for name in names:
            protocol, command = WORKERS[name]
            port = free_port()
            program, *words = command.format(port=port).split()
            beside = Path(sys.executable).with_name(program)
            path = str(beside if beside.exists() else shutil.which(program))
            worker = stack.enter_context(running([path, *words], folder)).pid
            wait_until(partial(programs.accepts, port), f"{name} listens")
            fronts[name, DIRECT] = f"{'proxy_pass' if protocol == 'http' else 'uwsgi_pass'} 127.0.0.1:{port}"
            pids[name, DIRECT] = {"worker": worker}
            front = str(folder / f"{port}.sock")
            node = f"{KEY}=127.0.0.1:{port},protocol={protocol}"
            words = ["--listen", front, "--subscription-server", "none", "--admin", "none", "--node", node]
            ours = stack.enter_context(running([router, *words, "--log-level", "warning"], folder)).pid
            fronts[name, OURS] = f"uwsgi_pass unix:{front}"
            pids[name, OURS] = {"worker": worker, "router": ours}
            if protocol == "uwsgi":
                theirs, front = stack.enter_context(programs.theirs(folder, "unix", 1, [(KEY, f"127.0.0.1:{port}")]))
                fronts[name, THEIRS] = f"uwsgi_pass unix:{front}"
                pids[name, THEIRS] = {"worker": worker, "router": theirs}
        front_pid, ports = stack.enter_context(nginx(folder, fronts))
        for way, port in ports.items():
            wait_until(partial(programs.answers, port), f"{way} answers")
        yield [Way(*way, port, {**pids[way], "nginx": front_pid}) for way, port in ports.items()]


def turn(way: Way, seconds: int, connections: int) -> Turn:
    """One run of wrk, and who spent how much on it."""
    trees = {name: tree(pid) for name, pid in way.pids.items()}
    before = {name: usage(pids) for name, pids in trees.items()}
    got = load.requests(way.port, "/", seconds, connections)
    spent = {name: usage(pids) - before[name] for name, pids in trees.items()}
    share = got.requests or 1
    return Turn(got.rate, got.failed, {name: (used.user + used.system) / share for name, used in spent.items()})


def main() -> None:
    """Measure and print one table."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=about)
    parser.add_argument("--only", action="append", choices=WORKERS, help="repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--router", default=programs.our_program(), help="another fastroute-router")
    arguments = parser.parse_args()
    names = arguments.only or [
        name for name, (_, command) in WORKERS.items()
        if shutil.which(command.split()[0]) or Path(sys.executable).with_name(command.split()[0]).exists()
    ]  # fmt: skip
    print(f"{machine()}\n{arguments.rounds} rounds of {arguments.seconds} s, {arguments.connections} connections")
    with (
        tempfile.TemporaryDirectory(prefix="fastroute-bench-") as folder,
        ways(Path(folder), names, arguments.router) as all_ways,
    ):
        turns: dict[Way, list[Turn]] = {}
        for number in range(-1, arguments.rounds):
            for way in all_ways if number % 2 else reversed(all_ways):
                done = turn(way, arguments.seconds, arguments.connections)
                if number >= 0:
                    turns.setdefault(way, []).append(done)
        print(aligned(["worker", "way", "req/s", "router", "nginx", "worker", "all", "all / nginx alone",
                       "router / uWSGI's", "failed"], [_row(way, turns) for way in all_ways]))  # fmt: skip


def _row(way: Way, turns: dict[Way, list[Turn]]) -> list[str]:
    own = turns[way]

    def median(name: str) -> str:
        return f"{statistics.median(each.cpu[name] for each in own) * 1e6:.0f}" if name in way.pids else ""

    def ratio(worker: str, name: str, router: bool) -> str:
        other = next((turns[each] for each in turns if (each.worker, each.name) == (worker, name)), None)
        if other is None or other is own or (router and "router" not in way.pids):
            return ""
        pairs = zip(own, other, strict=True)
        values = [
            (mine.cpu["router"] / its.cpu["router"]) if router else sum(mine.cpu.values()) / sum(its.cpu.values())
            for mine, its in pairs
        ]
        return f"{statistics.median(values):.2f}"

    return [
        way.worker, way.name, f"{statistics.median(each.rate for each in own):,.0f}",
        median("router"), median("nginx"), median("worker"),
        f"{statistics.median(sum(each.cpu.values()) for each in own) * 1e6:.0f}",
        ratio(way.worker, DIRECT, False), ratio("uWSGI", THEIRS, True), str(sum(each.failed for each in own)),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
