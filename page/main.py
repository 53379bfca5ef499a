"""``fastroute-page``: the program's entry."""

from __future__ import annotations

import os
import sys

from fastroute.page.options import parse
from fastroute.page.program import run
from fastroute.router.runtime.start import start


def main() -> int:
    """Run as the command line, the environment and FILE say; the exit code of the process."""
    return start(lambda width: parse(sys.argv[1:], os.environ, width), run)


if __name__ == "__main__":
    sys.exit(main())
