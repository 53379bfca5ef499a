"""``python -m benchmarks.fake_engine SOCKET COUNT PORT`` with ``PYTHONPATH=tests``: a Docker API with COUNT containers.

Their addresses are loopback ones behind which one worker listens at PORT.  Commands come as lines, each is answered by
one: ``start N`` and ``kill N`` with the time of the event (ns), ``die N`` with nothing, ``storm RATE SECONDS`` with the
number of events published.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from support.fake_container import FakeContainer
from support.fake_docker import FakeDocker

#: Containers that live and die on command, beside those that only run.
SPARE = 8


def address(number: int) -> str:
    """The loopback address of a container."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def main() -> None:
    """Serve until standard input ends."""
    path, count, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    docker = FakeDocker(Path(path))
    running = [_create(docker, number, port) for number in range(count)]
    for number, one in enumerate(running):
        docker.start_container(one, address(number))
    spare = [_create(docker, count + number, port) for number in range(SPARE)]
    docker.start()
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *numbers = line.split()
        print(_obey(docker, spare, count, verb, numbers), flush=True)


def _create(docker: FakeDocker, number: int, port: str) -> FakeContainer:
    labels = {"fastroute.key": f"c{number}.example.com", "fastroute.port": port}
    return docker.create(f"c{number}", labels, "bridge")


def _obey(docker: FakeDocker, spare: list[FakeContainer], count: int, verb: str, numbers: list[str]) -> str:
    if verb == "storm":
        return str(storm(docker, spare, count, float(numbers[0]), float(numbers[1])))
    number = int(numbers[0])
    one = spare[number]
    match verb:
        case "start":
            docker.start_container(one, address(count + number))
        case "kill":
            docker.kill(one, 15)
        case "die":
            docker.die(one)
            return ""
    return str(docker.history[-1]["timeNano"])


def storm(docker: FakeDocker, spare: list[FakeContainer], count: int, rate: float, seconds: float) -> int:
    """Starts and ends in turn; a start is two events (connect, start), and so is an end (die, disconnect)."""
    begun, published = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        if published > now * rate:
            time.sleep(published / rate - now)
        number = published // 4 % SPARE
        if published % 4:
            docker.die(spare[number])
        else:
            docker.start_container(spare[number], address(count + number))
        published += 2
    return published


if __name__ == "__main__":
    main()
