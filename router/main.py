"""``fastroute-router``: the program's entry.  Reads the configuration, says what is wrong, hands over to the master.

Nothing is opened before the configuration is known to be good: exit 2 always means that nothing was touched.
"""

from __future__ import annotations

import os
import sys

from fastroute.router.config.options import parse
from fastroute.router.config.settings import Settings
from fastroute.router.runtime import logs
from fastroute.router.runtime.own_files import open_log
from fastroute.router.runtime.start import EXIT_FAILED, start


def main() -> int:
    """Run the router as the command line, the environment and FILE say; the exit code of the process."""
    return start(lambda width: parse(sys.argv[1:], os.environ, width), _run)


def _run(settings: Settings) -> int:
    if settings.logto and not _redirect(settings.logto):
        return EXIT_FAILED
    logs.set_up(settings.log_format, settings.log_level)
    # Only now: --help and errors need none of it.
    from fastroute.router.master.master import Master

    return Master(settings, lambda: parse(sys.argv[1:], os.environ)).run()


def _redirect(file: str) -> bool:
    """Make ``file`` standard error, for this process and its children."""
    try:
        fd = open_log(file)
    except OSError as error:
        sys.stderr.write(f"logto: {file}: cannot be written: {error.strerror}\n")
        return False
    os.dup2(fd, sys.stderr.fileno())
    os.close(fd)
    return True
