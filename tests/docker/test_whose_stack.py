"""``make up`` and ``make down`` leave alone what another clone stands up, and say whose it is and what to set."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "debian:trixie-slim"

pytestmark = [pytest.mark.docker, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


class Others:
    """A container (never started) and a network, as compose labels those of a project that stands elsewhere."""

    def __init__(self, home: Path) -> None:
        self.home, self.project = home, f"fastroute-whose-{uuid.uuid4().hex[:8]}"
        label = f"com.docker.compose.project={self.project}"
        place = f"com.docker.compose.project.working_dir={home}"
        self.container = docker("create", "--label", label, "--label", place, IMAGE, "true")
        self.network = docker("network", "create", "--label", label, self.project)

    def make(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("FASTROUTE_", "COMPOSE_"))}
        command = [str(ROOT / "scripts" / script)]
        return subprocess.run(command, env=environ | variables, capture_output=True, text=True, timeout=100)

    def there(self) -> bool:
        return docker("ps", "-aq", "--no-trunc", "--filter", f"id={self.container}") == self.container


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    one = Others(tmp_path / "their clone")
    yield one
    subprocess.run(["docker", "rm", "-f", one.container], capture_output=True, check=False)
    subprocess.run(["docker", "network", "rm", one.network], capture_output=True, check=False)


@pytest.mark.parametrize("mode", ["router", "nginx"])
def test_up_does_not_join_another_clones_stack(others: Others, mode: str) -> None:
    done = others.make("up.sh", COMPOSE_PROJECT_NAME=others.project, MODE=mode)
    assert done.returncode == 1
    assert str(others.home) in done.stderr
    for name in ("COMPOSE_PROJECT_NAME=", "FASTROUTE_NETWORK=", "FASTROUTE_HTTP_PORT=", "FASTROUTE_HTTPS_PORT="):
        assert name in done.stderr
    assert "building" not in done.stderr


def test_up_does_not_share_another_stacks_network(others: Others) -> None:
    own = f"{others.project}-own"
    done = others.make("up.sh", COMPOSE_PROJECT_NAME=own, FASTROUTE_NETWORK=others.project)
    assert done.returncode == 1
    assert f"of the project {others.project}" in done.stderr
    assert f"FASTROUTE_NETWORK={own}" in done.stderr
    assert "building" not in done.stderr


def test_down_does_not_remove_another_clones_stack_unless_it_is_said_there(others: Others) -> None:
    done = others.make("down.sh", COMPOSE_PROJECT_NAME=others.project)
    assert (done.returncode, others.there()) == (1, True)
    assert f"com.docker.compose.project={others.project} | xargs" in done.stderr, "its clone is gone: how to end it"
    others.home.mkdir()
    (others.home / "Makefile").touch()
    done = others.make("down.sh", COMPOSE_PROJECT_NAME=others.project)
    assert (done.returncode, others.there()) == (1, True)
    assert "their\\ clone down" in done.stderr


def test_down_removes_what_this_clone_started_through_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    ours = Others(tmp_path / "link")
    try:
        done = ours.make("down.sh", COMPOSE_PROJECT_NAME=ours.project)
        assert (done.returncode, ours.there()) == (0, False), done.stderr
        assert ours.project not in docker("network", "ls", "--format", "{{.Name}}").split()
    finally:
        subprocess.run(["docker", "rm", "-f", ours.container], capture_output=True, check=False)
