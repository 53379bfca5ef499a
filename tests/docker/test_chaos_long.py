"""What takes minutes: make chaos-docker.  200 requests a second through nginx, by a client that never retries."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chaos import no_failures, recipe, stopped_controller
from support.load import Load, ask
from support.private_engine import PrivateEngine
from support.programs import Controller, Nginx, Router, wait_for
from support.stack import Stack

pytestmark = [
    pytest.mark.skipif(not os.environ.get("FASTROUTE_CHAOS"), reason="minutes long: make chaos-docker"),
    pytest.mark.timeout(600),
]


def test_scaling_from_one_to_ten_and_back_loses_nothing(stack: Stack, two_foos: set[str]) -> None:
    def scale(number: int) -> None:
        names = stack.scale("foo", number, "--no-recreate")
        wait_for(lambda: set(stack.answered_by("foo.com", 10 * number)) == names, f"{number} replicas answer", 60)

    scale(1)
    with stack.load("foo.com") as load:
        scale(10)
        scale(1)
    no_failures(load)


def test_three_deploys_after_each_other_lose_nothing(stack: Stack, two_foos: set[str], tmp_path: Path) -> None:
    script = tmp_path / "deploy.sh"
    script.write_text(recipe())
    with stack.load("foo.com") as load:
        for _ in range(3):
            subprocess.run(["sh", str(script), "foo", "foo.com"], env=stack.environment, check=True, timeout=240)
    no_failures(load)


def test_a_controller_stopped_for_twenty_seconds_loses_nothing(stack: Stack, two_foos: set[str]) -> None:
    with stack.load("foo.com") as load:
        stopped_controller(stack, load, 20)
        stack.wait_answered_by("foo.com", two_foos)
    no_failures(load)


@pytest.mark.parametrize("how", [(), ("-l", "fastroute.probe=/"), ("--health-cmd", "true", "--health-interval", "1s")])
def test_a_stop_that_waits_longer_than_docker_tells_gets_no_request(stack: Stack, how: tuple[str, ...]) -> None:
    """The worker ignores TERM, and answers until it is killed."""
    serve = "cd /tmp; hostname > index.html; trap '' TERM; exec python3 -m http.server 8000"
    labels = ("-l", "fastroute.key=long.com", "-l", "fastroute.port=8000", "-l", "fastroute.protocol=http")
    image = ("--entrypoint", "sh", stack.image("router"), "-c", serve)
    healthy = how if how[:1] == ("--health-cmd",) else (*how, "--no-healthcheck")
    with stack.container(*labels, *healthy, *image) as one, stack.container(*labels, *healthy, *image) as other:
        names = {stack.host_name(one) + "\n", stack.host_name(other) + "\n"}
        stack.wait_answered_by("long.com", names)
        stopping = threading.Thread(target=stack.docker, args=("stop", "-t", "20", one))
        stopping.start()
        stack.wait_answered_by("long.com", {stack.host_name(other) + "\n"})
        with stack.load("long.com") as load:
            stopping.join()
        no_failures(load)
        assert set(load.answered) == {stack.host_name(other) + "\n"}


@pytest.fixture
def private(stack: Stack) -> Iterator[PrivateEngine]:
    """A dockerd of our own with live-restore, and the demo application's image on it."""
    folder = Path(tempfile.mkdtemp(prefix="fastroute-dockerd-"))
    try:
        with PrivateEngine(folder) as engine:
            saved = folder / "image.tar"
            stack.docker("save", "-o", str(saved), stack.image("foo"))
            engine.docker("load", "-i", str(saved))
            saved.unlink()
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_dockerd_that_restarts_with_live_restore_loses_nothing(stack: Stack, private: PrivateEngine) -> None:
    def run() -> str:
        labels = ("-l", "fastroute.key=foo.com", "-l", "fastroute.port=3031", "-l", "fastroute.probe=/")
        return private.docker("run", "-d", "--no-healthcheck", *labels, stack.image("foo"))[:12]

    names = {run(), run()}
    with Router() as router, Controller(private.url, router), Nginx(f"127.0.0.1:{router.port}") as nginx:

        def answered_by() -> set[str]:
            return {ask(nginx.port, "foo.com").text for _ in range(12)}

        wait_for(lambda: answered_by() == names, "both answer", 60)
        with Load(lambda: ask(nginx.port, "foo.com")) as load:
            private.restart()
            wait_for(lambda: answered_by() == names, "both still answer", 60)
            names.add(run())
            wait_for(lambda: answered_by() == names, "a new one is seen", 60)
            gone = names.pop()
            private.docker("stop", gone)
            wait_for(lambda: answered_by() == names, "a stop is seen", 60)
        no_failures(load)
