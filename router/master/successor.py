"""SIGUSR2: the router that runs starts the one that is to take over (``handover.py``), with the same command line."""

from __future__ import annotations

import os
import sys

from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier

log = get_logger("fastroute.master")


def start_successor(run_dir: str | None, notifier: Notifier) -> None:
    """Start what is installed now; it says by itself what becomes of it."""
    if run_dir is None:
        log.error("SIGUSR2: nobody can take over without --run-dir")
    elif os.getpid() == 1:
        log.error("SIGUSR2: process 1 can't be followed by another; start the new router in a container of its own")
    else:
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            pid = os.posix_spawn(sys.executable, argv, notifier.for_successor(os.environ))
        except OSError as error:
            log.error("SIGUSR2: %s: %s", sys.executable, error.strerror)
        else:
            log.info("started a router with pid %d, to take over", pid)
