"""What can be configured but is not in this version: refused with one line, never ignored in silence.

The one list of it: whoever makes an option work deletes its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastroute.router.config.configuration import ConfigurationError, Resolved
from fastroute.router.config.settings import Settings
from fastroute.router.config.workers_section import Worker

#: Fields that must have their default.
UNFINISHED = (
    "run_dir",
)

_DEFAULTS = Settings()


def refuse_workers(workers: Sequence[Worker]) -> None:
    """``workers:`` is read and checked, running them is to come."""
    if workers:
        raise ConfigurationError(
            f"{workers[0].at}: workers: running workers is not in this version of fastroute-router"
        )


def refuse_unfinished(settings: Settings, values: Mapping[str, Resolved]) -> None:
    """``ConfigurationError`` when ``settings`` asks for something that this version can't do."""
    for field in UNFINISHED:
        if getattr(settings, field) != getattr(_DEFAULTS, field):
            raise ConfigurationError(f"{values[field].origin}: not in this version of fastroute-router yet")
