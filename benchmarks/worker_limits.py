"""``python -m benchmarks.worker_limits``: what a worker does with more requests than it can run (docs/choosing-max.md).

Each server gets (a) many requests in the same moment: how many run at once, how many it has taken from the kernel's
backlog all the same, how they are spread over its processes, and when the last one is answered; (b) so many clients
that ask again and again: how much of what it could do is done, and how long a request takes.  No router is in between.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.programs import free_port, running, wait_until
from benchmarks.report import aligned

APPLICATION = """
import asyncio, os, time
def text(began):
    return b"%d %.4f %.4f" % (os.getpid(), began, time.time())
def application(environ, start):
    began = time.time()
    time.sleep(SECONDS)
    body = text(began)
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
async def asgi(scope, receive, send):
    if scope["type"] == "http":
        began = time.time()
        await asyncio.sleep(SECONDS)
        body = text(began)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
"""
UWSGI = "uwsgi-core --plugin python3 --http-socket 127.0.0.1:{port} --wsgi-file app.py --master --die-on-term"
GUNICORN = "gunicorn --bind 127.0.0.1:{port} app"
UVICORN = "uvicorn app:asgi --port {port} --log-level warning"
SERVERS = {
    "uWSGI, 2 processes of 2 threads": f"{UWSGI} --processes 2 --threads 2",
    "the same, listen = 5": f"{UWSGI} --processes 2 --threads 2 --listen 5",
    "uWSGI, 1 process of 4 threads": f"{UWSGI} --threads 4",
    "gunicorn sync, 4 workers": f"{GUNICORN} --workers 4",
    "gunicorn gthread, 2 workers of 2 threads": f"{GUNICORN} --workers 2 --threads 2",
    "gunicorn gthread, 1 worker of 4 threads": f"{GUNICORN} --workers 1 --threads 4",
    "uvicorn, 2 workers": f"{UVICORN} --workers 2",
    "uvicorn, limit-concurrency 10": f"{UVICORN} --limit-concurrency 10",
}
#: What those of them that don't await can run at once.
SLOTS = 4


class Answer(NamedTuple):
    """One answer: its status (0: none), who gave it, when it was worked on, and how long it took in all."""

    status: int
    pid: int
    began: float
    ended: float
    seconds: float


def ask(port: int) -> Answer:
    """One request on a connection of its own."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        status, fields = answer.status, answer.read().split()
    except OSError:
        status, fields = 0, []
    finally:
        connection.close()
    pid, began, ended = fields if status == 200 else (b"0", b"0", b"0")
    return Answer(status, int(pid), float(began), float(ended), time.monotonic() - start)


def backlog(port: int) -> int:
    """Connections to ``port`` that the server has not taken yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
            return int(fields[4].partition(":")[2], 16)
    return 0


def at_once(answers: list[Answer]) -> int:
    """The most of them that were worked on in the same moment."""
    steps = sorted([(a.began, 1) for a in answers] + [(a.ended, -1) for a in answers])
    most = running = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def burst(port: int, requests: int, seconds: float) -> list[str]:
    """(a)"""
    with ThreadPoolExecutor(requests) as clients:
        asked = [clients.submit(ask, port) for _ in range(requests)]
        time.sleep(seconds * 0.6)
        waiting = backlog(port)
        answers = [request.result() for request in asked]
    good = [answer for answer in answers if answer.status == 200]
    spread = Counter(answer.pid for answer in good)
    refused = f", {len(answers) - len(good)} refused" if len(good) < len(answers) else ""
    return [
        f"{at_once(good)}{refused}",
        f"{waiting}",
        ", ".join(map(str, sorted(spread.values()))),
        f"{max(answer.seconds for answer in answers):.2f}",
    ]


def steady(port: int, clients: int, duration: float) -> list[str]:
    """(b)"""
    end = time.monotonic() + duration

    def loop() -> list[float]:
        taken = []
        while time.monotonic() < end:
            taken.append(ask(port).seconds)
        return taken

    with ThreadPoolExecutor(clients) as pool:
        loops = [pool.submit(loop) for _ in range(clients)]
        taken = sorted(seconds for each in loops for seconds in each.result())
    median, late = taken[len(taken) // 2], taken[len(taken) * 95 // 100]
    return [f"{len(taken) / duration:.0f}", f"{median * 1e3:.0f}", f"{late * 1e3:.0f}"]


def measure(name: str, seconds: float, parts: list[tuple[str, int]], duration: float) -> list[list[str]]:
    """One server, a row for each of ``parts``: ``burst`` or ``steady``, and how many."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "app.py").write_text(APPLICATION.replace("SECONDS", f"{seconds}"))
        port = free_port()
        with running(SERVERS[name].format(port=port).split(), Path(folder)):
            wait_until(lambda: ask(port).status == 200, f"{name} answers")
            # Every process is up.
            time.sleep(1)
            for kind, count in parts:
                figures = burst(port, count, seconds) if kind == "burst" else steady(port, count, duration)
                rows.append([name, f"{count}", *figures])
    return rows


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=re.sub(r"\s+", " ", __doc__ or ""))
    parser.add_argument("--seconds", type=float, default=6.0, help="of each part of the second table")
    duration = parser.parse_args().seconds
    rows = [row for name in SERVERS for row in measure(name, 0.3, [("burst", 16)], duration)]
    print(aligned(["server", "requests", "at once", "in the backlog", "by process", "last answer, s"], rows))
    blocking = [name for name in SERVERS if "uvicorn" not in name and "listen" not in name]
    parts = [("steady", SLOTS), ("steady", SLOTS + 1), ("steady", 2 * SLOTS)]
    rows = [row for name in blocking for row in measure(name, 0.05, parts, duration)]
    print(aligned(["server", "clients", f"requests/s of {SLOTS / 0.05:.0f}", "p50, ms", "p95, ms"], rows))


if __name__ == "__main__":
    main()
