"""When a worker that ended is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from fastroute.router.supervisor.output import MAX_LINE, WorkerOutput
from fastroute.router.supervisor.process_groups import MARK, ProcessGroups, kill_group
from fastroute.router.supervisor.restarts import HEALTHY_AFTER, MAX_BACKOFF, MIN_BACKOFF, RestartPolicy

NEVER = float("inf")


def test_one_that_keeps_ending_waits_longer_and_longer() -> None:
    one = RestartPolicy("always")
    waits = [one.due(1, 0.1, 50.0) - 50.0 for _ in range(12)]
    assert waits[:3] == pytest.approx([MIN_BACKOFF, 2 * MIN_BACKOFF, 4 * MIN_BACKOFF])
    assert waits[-1] == MAX_BACKOFF
    assert one.due(1, HEALTHY_AFTER, 90.0) == 90.0
    assert one.due(1, 0.1, 91.0) - 91.0 == pytest.approx(MIN_BACKOFF)


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("always", 0, True), ("on-failure", 0, False), ("on-failure", 3, True), ("on-failure", -9, True),
     ("never", 0, False), ("never", 1, False)],
)  # fmt: skip
def test_policies(policy: str, code: int, again: bool) -> None:
    assert (RestartPolicy(policy).due(code, 1.0, 0.0) < NEVER) is again


def test_output_is_cut_into_lines_of_bounded_length(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    one = WorkerOutput("foo.1")
    os.write(one.write_end, b"a\nb\r\n\nhal")
    assert one.read()
    os.write(one.write_end, b"f\n" + b"x" * (MAX_LINE + 5))
    assert one.read()
    one.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["foo.1: a", "foo.1: b", "foo.1: half", "foo.1: " + "x" * MAX_LINE, "foo.1: xxxxx"]


def test_a_successor_ends_what_was_left_and_nobody_else() -> None:
    fd = os.memfd_create("record")
    before = ProcessGroups(fd)
    script = "import os, time; os.fork(); time.sleep(60)"
    environ = os.environ | {MARK: before.mark}
    ours = subprocess.Popen([sys.executable, "-c", script], process_group=0, env=environ)
    foreign = subprocess.Popen([sys.executable, "-c", script], process_group=0)
    try:
        before.add(ours.pid)
        # What the record says of a number that is somebody else's by now.
        before._groups[foreign.pid] = "1"
        before._write()
        assert ProcessGroups(fd).end_all() == [ours.pid]
        assert ours.wait(5) == -signal.SIGKILL
        time.sleep(0.05)
        assert foreign.poll() is None
        assert ProcessGroups(fd).end_all() == []
    finally:
        for one in (ours, foreign):
            kill_group(one.pid, signal.SIGKILL)
            one.wait()
        os.close(fd)
