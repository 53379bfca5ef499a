"""``fastroute-ctl``: where the program begins.

A health check runs every few seconds in every container, so the good case of it is answered here, with next to nothing
imported: a quarter of the CPU of :mod:`.healthcheck`.  Whatever is not plainly good goes the whole way, and says why.
``announce`` lives as long as a worker, so it imports the standard library alone.
"""

from __future__ import annotations

import os
import socket
import sys

from fastroute.ctl import default_addresses

#: Program -> where it is asked, unless its options say otherwise.
_DEFAULTS = {"router": default_addresses.ROUTER, "controller": default_addresses.CONTROLLER,
             "certs": default_addresses.CERTS, "page": default_addresses.PAGE}  # fmt: skip
#: Seconds, as of ``--timeout``.
_READY_TIMEOUT = 5.0


def main() -> None:
    """Run ``fastroute-ctl``."""
    if sys.argv[1:] == ["healthcheck"] and plainly_ready():
        return
    if sys.argv[1:2] == ["announce"]:
        from fastroute.router.sidecar.main import main as announce

        sys.exit(announce(sys.argv[2:]))
    from fastroute.ctl.main import main as whole

    whole()


def plainly_ready() -> bool:
    """True when PID 1 is one of our programs and its ``/readyz`` answers 200."""
    try:
        with open("/proc/1/cmdline", "rb") as stream:
            words = stream.read().decode(errors="replace").split("\0")
        admin = _admin(words)
        if not admin:
            return False
        with socket.socket(socket.AF_UNIX if admin.startswith("/") else socket.AF_INET) as connection:
            connection.settimeout(_READY_TIMEOUT)
            host, _, port = admin.rpartition(":")
            connection.connect(admin if admin.startswith("/") else (host, int(port)))
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))
    except (OSError, ValueError):
        return False


def _admin(words: list[str]) -> str:
    """A path or IPv4 address and port where the program in ``words`` is asked; empty: not so simple."""
    program = next((name for name in _DEFAULTS for word in words[:6] if word.endswith(f"/fastroute-{name}")), "")
    option = "listen" if program == "page" else "admin"
    if not program or any(word.startswith(f"--{option}") for word in words):
        return ""
    admin = os.environ.get(f"FASTROUTE_{option.upper()}", "") or _DEFAULTS[program]
    host, _, port = admin.rpartition(":")
    if host == "0.0.0.0":
        # Loopback answers for all addresses.
        return f"127.0.0.1:{port}"
    simple = admin.startswith("/") or host.replace(".", "").isdigit()
    return admin if simple and "," not in admin else ""
