"""What the short and the long tests of deploys and accidents share."""

from __future__ import annotations

import os
import re
import signal

from support.load import Load
from support.programs import wait_for
from support.stack import ROOT, Stack


def recipe() -> str:
    """The script of docs/deploying.md, as it stands there."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/deploying.md").read_text(), re.DOTALL)
    (script,) = (block for block in blocks if "deploy.sh SERVICE KEY" in block)
    return script


def no_failures(load: Load, least: int = 100) -> None:
    """Each request was answered, and there were some."""
    assert not load.failures, f"{len(load.failures)} of {load.sent} requests failed: {load.failures[:10]}"
    assert load.sent >= least, f"only {load.sent} requests"


def stopped_controller(stack: Stack, load: Load, seconds: float) -> None:
    """Containers come and go while the controller sees nothing."""
    pid = stack.inspect(stack.containers("controller")[0])["State"]["Pid"]
    first = stack.containers("foo")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = load.now
        stack.docker("stop", first)
        wait_for(lambda: load.now > begun + seconds / 2, "half of it")
        stack.docker("start", first)
        wait_for(lambda: load.now > begun + seconds, "all of it", seconds + 5)
    finally:
        os.kill(pid, signal.SIGCONT)
