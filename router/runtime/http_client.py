"""httpx without its command line, which imports click, rich and pygments: 5 MB in a process that runs for months.

``from fastroute.router.runtime.http_client import httpx``; for programs that run on, not for fastroute-ctl.
"""

from __future__ import annotations

import sys

__all__ = ["httpx"]

#: httpx takes an ImportError there for an installation without its extra ``cli``.
_COMMAND_LINE = "httpx._main"

if "httpx" in sys.modules:
    import httpx
else:
    # None: importing it is an ImportError.
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]
    try:
        import httpx
    finally:
        del sys.modules[_COMMAND_LINE]
