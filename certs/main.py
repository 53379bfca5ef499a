"""``fastroute-certs``: the program's entry.  Reads the configuration; asking a CA needs the extra ``certs``."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from fastroute.certs.options import parse
from fastroute.certs.settings import CertsSettings
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.start import start


def main() -> int:
    """Run as the command line, the environment and FILE say; the exit code of the process."""
    return start(lambda width: parse(sys.argv[1:], os.environ, width), _run)


def _run(settings: CertsSettings) -> int:
    from fastroute.certs.program import run

    try:
        if settings.asks:
            # Before anything is opened: run() would find out later.
            import_module("fastroute.certs.ca.asking")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("acme", "josepy", "requests"):
            raise
        text = f"the Python package {error.name} is missing: pip install 'fastroute[certs]'"
        raise StartError(f"fastroute-certs: {text}") from None
    return run(settings)
