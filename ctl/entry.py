"""``fastroute-ctl``: the program's entry.  ``announce`` lives as long as a worker, so it imports nothing else."""

from __future__ import annotations

import sys


def main() -> None:
    """Run, and exit with the code of INTERFACE.md."""
    if sys.argv[1:2] == ["announce"]:
        from fastroute.router.agent.main import main as announce

        sys.exit(announce(sys.argv[2:]))
    from fastroute.ctl.main import main as run

    run()
