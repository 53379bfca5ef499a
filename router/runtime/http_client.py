"""httpx without its command line, which imports click, rich and pygments: 5 MB in a process that runs for months.

``from fastroute.router.runtime.http_client import httpx``; for programs that run on, not for fastroute-ctl.
"""

from __future__ import annotations

from fastroute.router.runtime.imports import replaced

__all__ = ["httpx"]

# httpx takes an ImportError there for an installation without its extra ``cli``.
with replaced("httpx._main", None):
    import httpx
