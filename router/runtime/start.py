"""How a program of ours begins: its settings, or one line and exit 2; then its run.  Standard library only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TypeVar

from fastroute.router.config.command_line import InfoRequested
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.listen import ListenError

S = TypeVar("S")

EXIT_FAILED, EXIT_USAGE = 1, 2


def start(read: Callable[[int], S], run: Callable[[S], int]) -> int:
    """``run`` with the settings that ``read`` (given the width of the terminal) finds; the exit code."""
    try:
        settings = read(shutil.get_terminal_size().columns)
    except InfoRequested as answer:
        sys.stdout.write(str(answer))
        return 0
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    try:
        return run(settings)
    except (ListenError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
