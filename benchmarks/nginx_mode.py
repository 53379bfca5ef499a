"""``python -m benchmarks.nginx_mode``: what nginx mode costs, beside router mode: reloads by number of keys, CPU per
request, and the time from a desired state to the first request that it routes.  Needs nginx, uWSGI and wrk."""

from __future__ import annotations

import contextlib
import http.client
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import load
from benchmarks.accounting import machine, resident, tree, usage
from benchmarks.programs import free_port, our_program, ours, running, wait_until, workers
from benchmarks.report import markdown
from fastroute.controller.desired import Desired, Route, RouteDiff, Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.mode import ModeContext
from fastroute.controller.nginx_mode.mode import NginxMode
from fastroute.controller.route_sources import RouteSources
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Entry

#: What stands in front of a router.
FRONT = (
    "server {{ listen 127.0.0.1:{port}; location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:{front}; }} }}"
)
ROUNDS, SECONDS, CONNECTIONS, CHANGES = 7, 2, 16, 20
FRAME = """
daemon off; user root; worker_processes 1; worker_shutdown_timeout 35s;
pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {home}/b; uwsgi_temp_path {home}/u; proxy_temp_path {home}/p;
    fastcgi_temp_path {home}/f; scgi_temp_path {home}/s;
    {more}
}}
"""


def whole(sink: Sink) -> Callable[[Desired], None]:
    """Gives ``sink`` each desired state with what is different from the one before."""
    last: Desired = {}

    def apply(state: Desired) -> None:
        nonlocal last
        diff, last = RouteDiff.between(last, state), state
        sink.apply(state, diff)

    return apply


def desired(keys: int, port: int, nodes: int = 4, first: int = 1) -> Desired:
    """``keys`` keys with ``nodes`` nodes each, all of them the same workers."""
    routes = [
        Route(Entry(f"k{key}.example.com", f"127.{first + node}.0.1:{port}", owner=f"{node}@1"), f"web-{node}")
        for key in range(keys)
        for node in range(nodes)
    ]
    return {route.id: route for route in routes}


@contextlib.contextmanager
def nginx(home: Path, more: str) -> Iterator[int]:
    """An nginx with ``more`` in its http block; the master's pid."""
    (home / "nginx.conf").write_text(FRAME.format(home=home, more=more))
    with running(["nginx", "-p", str(home), "-c", str(home / "nginx.conf")], home):
        wait_until(lambda: (home / "nginx.pid").read_text().strip(), "nginx is up")
        yield int((home / "nginx.pid").read_text())


@contextlib.contextmanager
def in_nginx_mode(home: Path) -> Iterator[tuple[NginxMode, Callable[[Desired], None], int, int]]:
    """The mode, how to tell it routes, nginx's pid and its port."""
    (home / "fastroute").mkdir(parents=True)
    port = free_port()
    settings = replace(
        ControllerSettings(mode="nginx"),
        nginx_conf_dir=str(home / "fastroute"),
        nginx_test=f"nginx -t -c {home}/nginx.conf",
        nginx_reload=f"signal:{home}/nginx.pid",
        nginx_listen=(f"127.0.0.1:{port}",),
        nginx_status=parse_address(f"127.0.0.1:{free_port()}"),
        nginx_min_interval=0.0,
    )
    with nginx(home, f"include {home}/fastroute/*.conf;") as pid:
        mode = NginxMode(ModeContext(settings, ControllerEvents(), RouteSources(), lambda seconds: None))
        sink = mode.sink(lambda: "bench")
        mode.start()
        try:
            yield mode, whole(sink), pid, port
        finally:
            mode.close()


def answered(port: int, host: str) -> bool:
    """Whether ``host`` is routed."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status == 200


def reloads(folder: Path, worker: int) -> list[list[str]]:
    """By number of keys: from the change to the proof, and nginx's memory before, and while old workers leave."""
    rows = []
    for keys in (10, 100, 1000):
        with in_nginx_mode(folder / f"reloads-{keys}") as (mode, apply, pid, _):
            apply(desired(keys, worker))
            wait_until(lambda: mode.applier.stats.success, "the first configuration", 60)
            times, most, size = [], 0.0, sum(map(len, (mode.preview()["files"] or {}).values()))  # type: ignore[attr-defined]
            before = max(resident(tree(pid)))
            for number in range(5):
                done = mode.applier.stats.reloads
                apply(desired(keys, worker, first=2 + number))
                while mode.applier.stats.reloads == done:
                    most = max(most, sum(resident_now(pid)))
                    time.sleep(0.01)
                times.append(mode.applier.stats.seconds * 1000)
            rows.append(
                [str(keys), f"{size / 1e6:.2f}", f"{statistics.median(times):.0f}", f"{before:.0f}", f"{most:.0f}"]
            )
    return rows


def resident_now(pid: int) -> list[float]:
    """RSS of nginx's processes, some of which may be ending."""
    with contextlib.suppress(OSError):
        return resident(tree(pid))
    return [0.0]


def costs(folder: Path, worker: int) -> list[list[str]]:
    """CPU per request of everything between client and workers, in turns."""
    address = f"127.0.0.1:{worker}"
    with (
        in_nginx_mode(folder / "costs") as (_, apply, mode_pid, mode_port),
        ours(folder, "unix", 1, [("foo.com", address)], our_program()) as (router_pid, front),
    ):
        apply({("foo.com", address, "1@1"): Route(Entry("foo.com", address, owner="1@1"), "web")})
        port = free_port()
        (home := folder / "front").mkdir()
        more = FRONT.format(port=port, front=front)
        with nginx(home, more) as front_pid:
            subjects = {"nginx mode": (mode_port, [mode_pid]), "router mode": (port, [front_pid, router_pid])}
            for at, _ in subjects.values():
                wait_until(partial(answered, at, "foo.com"), "answers")
            wait_until(lambda: len(tree(mode_pid)) == 2, "the workers of before are gone")
            spent: dict[str, list[float]] = {name: [] for name in subjects}
            rates: dict[str, list[float]] = {name: [] for name in subjects}
            for _ in range(ROUNDS):
                for name, (at, masters) in subjects.items():
                    pids = [pid for master in masters for pid in tree(master)]
                    before = usage(pids)
                    found = load.requests(at, "/", SECONDS, CONNECTIONS)
                    used = usage(pids) - before
                    assert not found.failed, f"{name}: {found.failed} failed"
                    spent[name].append((used.user + used.system) / found.requests * 1e6)
                    rates[name].append(found.rate)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    return [
        [name, f"{value:.0f}", f"{value / medians['nginx mode']:.2f}", f"{statistics.median(rates[name]):.0f}"]
        for name, value in medians.items()
    ]


def times_to_route(folder: Path, worker: int) -> list[list[str]]:
    """From a desired state to the first request that it routes, in ms: a new key each time, on top of 100."""
    rows = []
    with in_nginx_mode(folder / "times") as (mode, apply, _, port):
        apply(desired(100, worker, 1))
        wait_until(lambda: mode.applier.stats.success, "the first configuration")
        rows.append(["nginx mode", *_until_routed(apply, port, worker)])
    (home := folder / "times-front").mkdir()
    subscriptions, port = str(folder / "subscriptions.sock"), free_port()
    front = str(folder / "front.sock")
    command = [our_program(), "--listen", front, "--subscription-server", subscriptions, "--admin", "none"]
    more = FRONT.format(port=port, front=front)
    with running(command, folder), nginx(home, more):
        wait_until(lambda: Path(subscriptions).exists(), "the router is up")
        announcer = SourceAnnouncer([parse_address(subscriptions)], lambda: "bench", 5.0)
        apply = whole(announcer)
        apply(desired(100, worker, 1))
        announcer.start()
        wait_until(partial(answered, port, "k99.example.com"), "routed")
        rows.append(["router mode", *_until_routed(apply, port, worker)])
        announcer.close()
    return rows


def _until_routed(apply: Callable[[Desired], None], port: int, worker: int) -> list[str]:
    state = dict(desired(100, worker, 1))
    times = []
    for number in range(CHANGES):
        host = f"new{number}.example.com"
        route = Route(Entry(host, f"127.0.0.1:{worker}", owner="n@1"), "new")
        state[route.id] = route
        began = time.monotonic()
        apply(dict(state))
        while not answered(port, host):
            time.sleep(0.001)
        times.append((time.monotonic() - began) * 1000)
        time.sleep(0.3)
    return [f"{statistics.median(times):.1f}", f"{max(times):.1f}"]


def main() -> None:
    """Measure and print."""
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        with workers(folder) as worker:
            head = [
                "keys",
                "MB of files",
                "change to proof, ms",
                "RSS of an nginx worker, MB",
                "all of nginx while reloading, MB",
            ]
            print(markdown(head, reloads(folder, worker)), flush=True)
            head = ["", "CPU per request, µs", "ratio", "requests/s"]
            print("\n" + markdown(head, costs(folder, worker)), flush=True)
            head = ["", "change to first routed request, ms, median", "max"]
            print("\n" + markdown(head, times_to_route(folder, worker)), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: exit(1))
    main()
