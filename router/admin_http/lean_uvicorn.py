"""uvicorn without its command line (click, its reloader, multiprocessing) and the files that configure logs: 2 MB in
each of our programs, none of which uses them.

``from fastroute.router.admin_http.lean_uvicorn H11Protocol, uvicorn``
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastroute.router.runtime.imports import replaced

__all__ = ["H11Protocol", "uvicorn"]

_command_line: Any = ModuleType("uvicorn.main")
_command_line.Server = _command_line.main = _command_line.run = None
try:
    with replaced("uvicorn.main", _command_line), replaced("logging.config", ModuleType("logging.config")):
        import uvicorn
        import uvicorn.server
        from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:
    # Another version, which wants more of them.
    import uvicorn
    import uvicorn.server
    from uvicorn.protocols.http.h11_impl import H11Protocol
