"""``python -m benchmarks.peers.fake_site SOCKET COUNT`` with ``PYTHONPATH=tests``: a Docker API with COUNT containers
that carry the labels of all subjects, one key each.  A line ``storm RATE SECONDS`` makes events, and is answered when
they are over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from support.fake_docker import FakeDocker

from benchmarks.fake_engine import SPARE, address, storm
from benchmarks.peers.docker_subjects import NETWORK, WORKER_PORT, easy_labels, traefik_labels


class _Docker(FakeDocker):
    """EasyHAProxy also asks for one network by its name."""

    def answer(self, path: str, filters: dict[str, list[str]] | None = None) -> Any:
        name = path.removeprefix("/networks/")
        return self.networks.get(name) if name != path else super().answer(path, filters)


def labels(key: str) -> dict[str, str]:
    """One way in for each subject."""
    return {
        "fastroute.key": f"{key}.http.test", "fastroute.protocol": "http", "fastroute.port": str(WORKER_PORT),
        **traefik_labels(key, "defaults"), **easy_labels(key, "easyhaproxy"),
    }  # fmt: skip


def main() -> None:
    """Serve until standard input ends."""
    path, count = sys.argv[1], int(sys.argv[2])
    docker = _Docker(Path(path))
    docker.network(NETWORK)
    for number in range(count):
        docker.run(f"c{number}", labels(f"c{number}"), NETWORK, address=address(number), ports=[WORKER_PORT])
    spare = [
        docker.create(f"c{count + at}", labels(f"c{count + at}"), NETWORK, ports=[WORKER_PORT]) for at in range(SPARE)
    ]
    docker.start()
    print("ready", flush=True)
    for line in sys.stdin:
        _, rate, seconds = line.split()
        print(storm(docker, spare, count, float(rate), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
