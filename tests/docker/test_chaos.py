"""Deploys and accidents at 200 requests a second through nginx, by a client that never retries.

Stops, scaling and restarts are in test_routing and test_restarts; ``make chaos-docker`` runs what takes longer.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from support.chaos import no_failures, recipe, stopped_controller
from support.programs import wait_for
from support.stack import ROOT, Stack

#: Of a worker killed with -9: what had been sent to it, and had begun to be answered, may be lost.
LOST_WITH_A_WORKER = 2


def test_the_documented_deploy_replaces_both_replicas_and_loses_nothing(
    stack: Stack, two_foos: set[str], tmp_path: Path
) -> None:
    script = tmp_path / "deploy.sh"
    script.write_text(recipe())
    with stack.load("foo.com") as load:
        done = subprocess.run(
            ["sh", str(script), "foo", "foo.com"],
            cwd=ROOT, env=stack.environment, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        new = stack.host_names("foo")
        stack.wait_answered_by("foo.com", new)
    no_failures(load)
    assert len(new) == 2
    assert not new & two_foos


def test_a_kill_loses_at_most_what_had_been_sent_to_the_worker(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    with stack.load("foo.com") as load:
        wait_for(lambda: load.sent > 50, "some load")
        killed = load.now
        stack.docker("kill", name)
        wait_for(lambda: load.now > killed + 2, "the time after")
    stack.docker("start", name)
    stack.wait_answered_by("foo.com", two_foos)
    assert len(load.failures) <= LOST_WITH_A_WORKER, load.failures
    assert all(killed <= at <= killed + 1 for at, _ in load.failures), (killed, load.failures)


def test_a_controller_that_is_stopped_loses_nothing_and_catches_up(stack: Stack, two_foos: set[str]) -> None:
    with stack.load("foo.com") as load:
        stopped_controller(stack, load, 9)
        awake = time.monotonic()
        wait_for(lambda: stack.status("foo.com")["ready"] == 2, "both replicas again", 30)
        stack.wait_answered_by("foo.com", two_foos)
        assert time.monotonic() - awake < 15
    no_failures(load)
