"""``examples/article/compose.yaml``: workers that announce themselves to a router by its name, without a controller."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.load import ask
from support.programs import free_port, wait_for
from support.stack import PROJECT

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "article"
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    compose("up", "--build", "--detach", "--scale", "worker=2", port=port)
    try:
        yield port
    finally:
        compose("down", "--volumes", "--timeout", "1", port=port)


def compose(*arguments: str, port: int = 0) -> str:
    command = ["docker", "compose", "--project-name", f"{PROJECT}-article", *arguments]
    environ = os.environ | {"ARTICLE_PORT": str(port)}
    done = subprocess.run(command, cwd=EXAMPLE, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def seen(port: int) -> set[str]:
    """Who answers; nobody while nginx or the router still start."""
    try:
        answers = [ask(port, "foo.com") for _ in range(8)]
    except OSError:
        return set()
    return {one.text.partition(" ")[0] for one in answers if one.status == 200}


def test_workers_find_the_router_by_its_name_and_say_goodbye(port: int) -> None:
    wait_for(lambda: len(seen(port)) == 2, "two workers answer", 60)
    compose("stop", "--timeout=20", "worker")
    logs = compose("logs", "router")
    assert len(set(re.findall(r"node removed: (\S+) \(withdrawn\)", logs))) == 2, logs
    # As the article has it: without workers the router lets requests wait.
    assert "entering cheap mode" in logs
    compose("up", "--detach", "--no-build", "--scale", "worker=1", port=port)
    wait_for(lambda: len(seen(port)) == 1, "a worker that comes is served to", 30)
