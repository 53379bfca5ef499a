"""What can be configured but is not in this version: refused with one line, never ignored in silence.

The one list of it: whoever makes an option work deletes its line.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.workers_section import Worker


def refuse_workers(workers: Sequence[Worker]) -> None:
    """``workers:`` is read and checked, running them is to come."""
    if workers:
        raise ConfigurationError(
            f"{workers[0].at}: workers: running workers is not in this version of fastroute-router"
        )
