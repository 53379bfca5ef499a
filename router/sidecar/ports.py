"""Free ports for workers, outside of the range from which outgoing connections get theirs.  One edge."""

from __future__ import annotations

import random
import socket

#: Below what any program's well-known port is likely to be, and below Linux' default range for outgoing connections.
_MIN_PORT, _MAX_PORT = 12_000, 32_767
_returned: set[int] = set()


def free_port(host: str = "") -> int:
    """A port of ``host`` (an IP of ours; empty: all) that is free, and that this function did not return before."""
    highest = min(_MAX_PORT, _ephemeral() - 1)
    candidates = range(_MIN_PORT, highest + 1) if highest - _MIN_PORT > 1000 else range(_MIN_PORT, 65_536)
    for _ in range(10_000):
        port = random.choice(candidates)
        if port not in _returned and _binds(host, port):
            _returned.add(port)
            return port
    _returned.clear()
    raise OSError(f"no free port from {candidates.start} to {candidates.stop - 1}")


def _binds(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def _ephemeral() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
