"""``make bench-eject ARGS=--containers``: one of three containers loses its database, behind us and behind Traefik.

Our router and controller, and Traefik with its Docker provider, run beside the engine and find the containers by their
labels.  Three containers answer within 20 ms; five seconds into the load one of them begins to answer 500 at once.
Then the same with three containers that all answer 500 to 2% of their requests, where there is nobody to take out.
Each measurement has containers of its own, and the subjects take turns; the client never retries.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.load import ask
from support.open_load import OpenLoad
from support.programs import Controller, Program, Router, free_port, wait_for
from support.proxies import proxy_program

from benchmarks.accounting import machine
from benchmarks.eject import BEFORE, FIRST, HOST, Seen, share
from benchmarks.engines import docker
from benchmarks.report import aligned, markdown

WORKERS = Path(__file__).resolve().parents[1] / "tests/docker/workers"
IMAGE = "fastroute-bench-eject"
MARK = "bench.fastroute=eject"
WELL = 0.02
#: Percent of the answers that are errors, where no container is worse than the others.
FLAKY = 2
#: What the containers' labels say besides.
SUBJECTS: dict[str, dict[str, str]] = {
    "fastroute, off": {"fastroute.eject": "off"},
    "fastroute, errors": {"fastroute.eject": "errors"},
    "Traefik, 1 failure (default)": {"maxfailedattempts": "1"},
    "Traefik, 10 failures": {"maxfailedattempts": "10"},
}


def labels(name: str) -> Iterator[str]:
    """The options of ``docker run`` for subject ``name``."""
    of = SUBJECTS[name]
    if "maxfailedattempts" in of:
        service = "traefik.http.services.shop.loadbalancer"
        of = {
            "traefik.enable": "true",
            "traefik.http.routers.shop.rule": f"Host(`{HOST}`)",
            f"{service}.server.port": "3031",
            f"{service}.passivehealthcheck.failurewindow": "10s",
            f"{service}.passivehealthcheck.maxfailedattempts": of["maxfailedattempts"],
        }
    else:
        of = {
            "fastroute.key": HOST,
            "fastroute.port": "3031",
            "fastroute.protocol": "http",
            "fastroute.probe": "/",
            **of,
        }
    for label, value in of.items():
        yield from ("--label", f"{label}={value}")


def answered(port: int) -> str:
    """Who answered; empty: nobody."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = ask(port, HOST)
        return answer.text if answer.status == 200 else ""
    return ""


@contextlib.contextmanager
def three(name: str, port: int) -> Iterator[list[str]]:
    """Three containers that are asked at ``port``."""
    command = ("--bind", "0.0.0.0:3031", "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--chdir", "/worker")
    program = ("--no-healthcheck", "--entrypoint", "/opt/bar/bin/gunicorn", "-v", f"{WORKERS}:/worker:ro")
    options = (*labels(name), "--label", MARK, "-e", f"DELAY={WELL}", *program, IMAGE, *command, "balanced:app")
    containers = [docker("run", "-d", *options).strip() for _ in range(3)]
    try:
        wait_for(lambda: len({answered(port) for _ in range(12)} - {""}) == 3, "all three answer", 60)
        yield containers
    finally:
        docker("rm", "-f", "-v", *containers)


def broken(name: str, port: int, rate: float, seconds: float) -> list[Seen]:
    """The requests since one of the three broke."""
    with three(name, port) as containers, OpenLoad(port, [HOST], rate) as load:
        time.sleep(BEFORE)
        docker("exec", containers[-1], "touch", "/tmp/broken")
        time.sleep(seconds)
    # It broke with its first error: docker exec takes its time.
    begun = min(outcome.sent for outcome in load.outcomes if outcome.status != 200)
    seen = [Seen(outcome.sent - begun, outcome.status == 200) for outcome in load.outcomes]
    return [each for each in seen if 0 <= each.at < seconds - 1]


def flaky(name: str, port: int, rate: float, seconds: float) -> list[Seen]:
    """All requests, where all three fail now and then."""
    with three(name, port) as containers:
        for container in containers:
            docker("exec", container, "sh", "-c", f"echo {FLAKY} >/tmp/broken")
        with OpenLoad(port, [HOST], rate) as load:
            time.sleep(seconds)
    return [Seen(outcome.sent, outcome.status == 200) for outcome in load.outcomes]


@contextlib.contextmanager
def both() -> Iterator[dict[str, int]]:
    """Ours and Traefik beside the engine; the port at which each subject is asked."""
    front, web = free_port(), free_port()
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    options = (f"--providers.docker.endpoint={url}", "--providers.docker.exposedbydefault=false",
               f"--providers.docker.constraints=Label(`{MARK.replace('=', '`,`')}`)")  # fmt: skip
    with (
        Router("--listen-http", f"127.0.0.1:{front}") as router,
        Controller(url, router, "--filter", f"label={MARK}"),
        Program(proxy_program("traefik"), f"--entryPoints.web.address=127.0.0.1:{web}", *options),
    ):
        yield {name: web if name.startswith("Traefik") else front for name in SUBJECTS}


def measured(
    measure: Callable[[str, int, float, float], list[Seen]], ports: dict[str, int], given: argparse.Namespace
) -> dict[str, list[Seen]]:
    """What was seen with each subject; they take turns."""
    seen: dict[str, list[Seen]] = {name: [] for name in ports}
    for _ in range(given.rounds):
        for name, port in ports.items():
            seen[name] += measure(name, port, given.rate, given.seconds)
            print(f"{measure.__name__}: {name}: {share(seen[name])}", flush=True)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=80, help="requests a second")
    parser.add_argument("--seconds", type=float, default=16, help="of load after the container broke")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="write the table there, too")
    given = parser.parse_args()
    with both() as ports:
        of_broken, of_flaky = measured(broken, ports, given), measured(flaky, ports, given)
    head = ["failed", f"first {FIRST:g} s", f"{FIRST:g} to {given.seconds - 1:g} s", f"all three fail {FLAKY}%"]
    lines = [
        [
            name,
            share([each for each in of_broken[name] if each.at < FIRST]),
            share([each for each in of_broken[name] if each.at >= FIRST]),
            share(of_flaky[name]),
        ]
        for name in SUBJECTS
    ]
    load = f"load average {os.getloadavg()[0]:.1f}"
    print(f"{machine()}, {load}; {given.rate:g} requests/s, {given.rounds} rounds\n{aligned(head, lines)}")
    if given.markdown:
        given.markdown.write_text(markdown(head, lines))


if __name__ == "__main__":
    main()
