"""``PYTHONPATH=tests python -m benchmarks.eject``: one of three workers loses its database, behind us and Traefik.

Workers answer within 20 ms; five seconds into the load the third begins to answer 500 within 2 ms.  A client that never
retries sends requests all the time.  Which share of them sees the broken worker, in the first two seconds and after?
Traefik has ``passiveHealthCheck``, once with its own defaults and once with the ten answers in ten seconds that ours
looks at; the subjects take turns, each with workers of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.open_load import OpenLoad
from support.programs import Program, Router, free_port, listens
from support.proxies import proxy_program

from benchmarks.accounting import machine
from benchmarks.report import aligned, markdown

HOST = "shop.test"
WELL, BROKEN = 0.02, 0.002
#: Seconds of load before the worker breaks, and seconds that are told apart behind it.
BEFORE, FIRST = 5.0, 2.0
TRAEFIK = """
http:
  routers: {{site: {{rule: "PathPrefix(`/`)", service: site}}}}
  services:
    site:
      loadBalancer:
        passiveHealthCheck: {{failureWindow: 10s, maxFailedAttempts: {failures}}}
        servers: [{servers}]
"""


class Workers:
    """Three HTTP workers in one thread; ``broken``: the third one is."""

    def __init__(self) -> None:
        self.ports = [free_port() for _ in range(3)]
        self.broken = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._ended = threading.Event()

    def __enter__(self) -> Workers:
        self._thread.start()
        while not all(map(listens, self.ports)):
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        for number, port in enumerate(self.ports):
            await asyncio.start_server(functools.partial(self._serve, number), "127.0.0.1", port)
        await asyncio.to_thread(self._ended.wait)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, named, rest = head.partition(b"content-length: ")
                await reader.readexactly(int(rest.partition(b"\r\n")[0]) if named else 0)
                broken = self.broken and number == 2
                await asyncio.sleep(BROKEN if broken else WELL)
                status = b"500 Internal Server Error" if broken else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 3\r\n\r\nok\n" % status)


@contextlib.contextmanager
def router(workers: Workers, eject: str, algorithm: str) -> Iterator[int]:
    """Our router's HTTP front."""
    port = free_port()
    nodes = [word for at in workers.ports for word in ("--node", f"{HOST}=127.0.0.1:{at},protocol=http")]
    options = ("--listen-http", f"127.0.0.1:{port}", "--eject", eject, "--algorithm", algorithm)
    with Router(*options, *nodes) as program:
        program.wait_for(lambda: listens(port), "the router listens")
        yield port


def answers(port: int) -> bool:
    """Whether a worker answers through ``port``."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(OSError), contextlib.closing(client):
        client.request("GET", "/", headers={"Host": HOST})
        return client.getresponse().status == 200
    return False


@contextlib.contextmanager
def traefik(workers: Workers, failures: int) -> Iterator[int]:
    """Traefik, which takes a server out after so many failures in 10 s."""
    port = free_port()
    servers = ", ".join(f'{{url: "http://127.0.0.1:{at}"}}' for at in workers.ports)
    with Program("true") as folder:
        file = folder.directory / "site.yml"
        file.write_text(TRAEFIK.format(failures=failures, servers=servers))
        command = ("--entryPoints.web.address=127.0.0.1:" + str(port), f"--providers.file.filename={file}")
        with Program(proxy_program("traefik"), *command) as program:
            program.wait_for(lambda: answers(port), "Traefik has its configuration")
            yield port


SUBJECTS = {
    "fastroute, off": lambda workers: router(workers, "off", "wrr"),
    "fastroute, errors": lambda workers: router(workers, "errors", "wrr"),
    "fastroute, errors, lrc": lambda workers: router(workers, "errors", "lrc"),
    "Traefik, 1 failure (default)": lambda workers: traefik(workers, 1),
    "Traefik, 10 failures": lambda workers: traefik(workers, 10),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: when it was sent, in seconds after the worker broke, and whether it was answered well."""

    at: float
    well: bool


def measure(name: str, rate: float, seconds: float) -> list[Seen]:
    """The requests since the worker broke."""
    with Workers() as workers, SUBJECTS[name](workers) as port:
        with OpenLoad(port, [HOST], rate) as load:
            time.sleep(BEFORE)
            workers.broken, broke = True, load.pace.now
            time.sleep(seconds)
        early = [outcome for outcome in load.outcomes if outcome.sent < broke - 0.5 and outcome.status != 200]
        assert not early, early[:3]
    seen = [Seen(outcome.sent - broke, outcome.status == 200) for outcome in load.outcomes]
    return [each for each in seen if each.at >= 0]


def share(seen: list[Seen]) -> str:
    """How many of them were answered by the broken worker."""
    failed = sum(not each.well for each in seen)
    return f"{100 * failed / len(seen):.2f}% ({failed} of {len(seen)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20, help="of load after the worker broke")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="write the table there, too")
    given = parser.parse_args()
    seen: dict[str, list[Seen]] = {name: [] for name in SUBJECTS}
    for _ in range(given.rounds):
        for name in SUBJECTS:
            seen[name] += measure(name, given.rate, given.seconds)
    head = ["answered by the broken one", f"first {FIRST:g} s", f"{FIRST:g} to {given.seconds:g} s", "last, s"]
    lines = [
        [
            name,
            share([each for each in found if each.at < FIRST]),
            share([each for each in found if each.at >= FIRST]),
            f"{max((each.at for each in found if not each.well), default=0.0):.1f}",
        ]
        for name, found in seen.items()
    ]
    print(f"{machine()}; {given.rate:g} requests/s, {given.rounds} rounds\n{aligned(head, lines)}")
    if given.markdown:
        given.markdown.write_text(markdown(head, lines))


if __name__ == "__main__":
    main()
