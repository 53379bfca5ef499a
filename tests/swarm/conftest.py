"""The swarm on which the tests of this folder build on each other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import ROOT
from support.swarm_nodes import Swarm
from support.swarm_stand import HEAD, IMAGES, MANAGERS, NODES, WEB, Standing, new_secret


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the engines live: paths of unix sockets are short."""
    path = Path(f"/tmp/fastroute-swarm.{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def stand(folder: Path) -> Iterator[Standing]:
    """The stack and a service with four replicas, on four nodes."""
    with Swarm(folder, NODES, MANAGERS, IMAGES) as swarm:
        standing = Standing(swarm)
        for edge in standing.edges:
            standing.docker("node", "update", "--label-add", "fastroute.edge=true", edge.name)
        new_secret(standing, standing.secret)
        standing.deploy(ROOT / "compose" / "swarm.yaml", "fastroute")
        standing.deploy(WEB, "shop", TEST_KEY="foo.com")
        standing.wait_ready(4)
        yield standing
    print(f"\n{HEAD}")
    print(*standing.table, sep="\n", flush=True)
