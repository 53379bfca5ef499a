"""CPU per request of our relay beside uWSGI's C FastRouter: nginx -> router -> the same uWSGI worker, alternating runs.

Needs Debian's nginx, uwsgi-core, uwsgi-plugin-python3 and wrk.  Everything runs on loopback and unix sockets in a
folder of its own and ends with this script.  Run: ``python benchmarks/relay_cpu.py [--seconds 3] [--rounds 5]``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fastroute.router.descriptors import Inheritance
from fastroute.router.wire import encode_packet, encode_vars

BROWSER = {
    "Host": "foo.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
APPLICATION = (
    "def application(environ, start):\n    start('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n"
)
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], folder: Path, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """``command``, until the block ends."""
    log = (folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, **more) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT if "uwsgi" in command[0] else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def our_relay(folder: Path, front: socket.socket, worker: str) -> Iterator[int]:
    """One relay with one node, this script in control's place; its pid."""
    front.listen(4096)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    alive, master = os.pipe()
    memory = os.memfd_create("settings")
    os.write(memory, Inheritance({"log_format": "text"}, 0, alive, theirs.fileno(), [front.fileno()]).to_bytes())
    node = ["node", "foo.com", worker, 1, 0, 0, 0, 0, "uwsgi"]
    ours.send(
        json.dumps({"v": 1, "epoch": "e", "ops": [["reset"], ["pool", "foo.com", "wrr"], node, ["done"]]}).encode()
    )
    command = [sys.executable, "-m", "fastroute.router.relay.main", "--settings-fd", str(memory)]
    fds = (alive, theirs.fileno(), memory, front.fileno())
    with running(command, folder, pass_fds=fds) as process:
        yield process.pid
    for fd in (alive, master, memory):
        os.close(fd)
    ours.close()
    theirs.close()


@contextlib.contextmanager
def uwsgi_router(folder: Path, front: str, worker: str) -> Iterator[int]:
    """The original with one subscribed node; the pid of its router process."""
    port = free_port()
    server = f"127.0.0.1:{port}"
    command = ["uwsgi-core", "--plugin", "fastrouter", "--master", "--fastrouter", front,
               "--fastrouter-subscription-server", server, "--subscription-tolerance", "100000"]  # fmt: skip
    with running(command, folder) as process:
        time.sleep(1.0)
        pairs = [(b"key", b"foo.com"), (b"address", worker.encode()), (b"modifier1", b"0")]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(encode_packet(224, 0, encode_vars(pairs)), ("127.0.0.1", port))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0])


def nginx_configuration(folder: Path, upstreams: dict[str, tuple[int, str]]) -> Path:
    """One port per upstream, all else equal."""
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; location / {{ include /etc/nginx/uwsgi_params;"
        f" uwsgi_pass {address}; }} }}\n"
        for port, address in upstreams.values()
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;\n"
        "events { worker_connections 2048; }\n"
        f"http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/b;"
        f" uwsgi_temp_path {folder}/u; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;"
        f" scgi_temp_path {folder}/s;\n{servers}}}\n"
    )
    return path


def cpu(pid: int) -> tuple[float, float]:
    """User and system seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def load(port: int, seconds: float, connections: int) -> tuple[int, float, int]:
    """wrk's requests, requests per second, and answers that were no 200."""
    headers = [argument for name, value in BROWSER.items() for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", *headers, f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if not total or not rate:
        raise RuntimeError(text)
    return int(total[1]), float(rate[1]), int(bad[1]) if bad else 0


def measure(front: str, arguments: argparse.Namespace) -> None:
    """All rounds with one kind of front socket, and the table."""
    folder = Path(tempfile.mkdtemp(prefix="fastroute-bench-"))
    (folder / "app.py").write_text(APPLICATION)
    worker = f"127.0.0.1:{free_port()}"
    ours = socket.socket(socket.AF_UNIX if front == "unix" else socket.AF_INET)
    ours.bind(str(folder / "ours.sock") if front == "unix" else ("127.0.0.1", 0))
    theirs = str(folder / "theirs.sock") if front == "unix" else f"127.0.0.1:{free_port()}"
    ours_name = f"unix:{folder}/ours.sock" if front == "unix" else f"127.0.0.1:{ours.getsockname()[1]}"
    theirs_name = f"unix:{theirs}" if front == "unix" else theirs
    ports = {"fastroute": (free_port(), ours_name), "uwsgi": (free_port(), theirs_name)}
    work = ["uwsgi-core", "--plugin", "python3", "--master", "--socket", worker, "--processes", "2", "--listen", "1024",
            "--wsgi-file", str(folder / "app.py"), "--disable-logging", "--need-app"]  # fmt: skip
    user: dict[str, list[float]] = {name: [] for name in ports}
    system: dict[str, list[float]] = {name: [] for name in ports}
    rates: dict[str, list[float]] = {name: [] for name in ports}
    failed = dict.fromkeys(ports, 0)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(work, folder))
        pids = {
            "fastroute": stack.enter_context(our_relay(folder, ours, worker)),
            "uwsgi": stack.enter_context(uwsgi_router(folder, theirs, worker)),
        }
        configuration = nginx_configuration(folder, ports)
        stack.enter_context(running(["nginx", "-p", str(folder), "-c", str(configuration)], folder))
        time.sleep(1.0)
        for number in range(arguments.rounds + 1):
            for name, (port, _) in ports.items():
                before = cpu(pids[name])
                requests, rate, bad = load(port, arguments.seconds if number else 1.0, arguments.connections)
                after = cpu(pids[name])
                if number:
                    user[name].append((after[0] - before[0]) / requests * 1e6)
                    system[name].append((after[1] - before[1]) / requests * 1e6)
                    rates[name].append(rate)
                    failed[name] += bad
    ours.close()
    shutil.rmtree(folder)
    print(f"\n{front} front, {arguments.rounds} rounds of {arguments.seconds:g} s, {arguments.connections} connections")
    print(f"{'':10} {'req/s':>8} {'user us':>8} {'sys us':>8} {'cpu us':>8} {'failed':>7}")
    cost = {}
    for name in ports:
        totals = [u + s for u, s in zip(user[name], system[name], strict=True)]
        cost[name] = totals
        print(
            f"{name:10} {statistics.median(rates[name]):8.0f} {statistics.median(user[name]):8.1f}"
            f" {statistics.median(system[name]):8.1f} {statistics.median(totals):8.1f} {failed[name]:7}"
        )
    ratios = [a / b for a, b in zip(cost["fastroute"], cost["uwsgi"], strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio of CPU, ours / uWSGI's: median {statistics.median(ratios):.2f} ({each})")


def main() -> None:
    """Both kinds of front socket."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--front", choices=["tcp", "unix", "both"], default="both")
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "uwsgi-core", "wrk") if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (apt-get install nginx uwsgi-core uwsgi-plugin-python3 wrk)")
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    )
    for front in ("tcp", "unix") if arguments.front == "both" else (arguments.front,):
        measure(front, arguments)


if __name__ == "__main__":
    main()
