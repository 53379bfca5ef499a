"""Ports for workers: free now, and not from the range that outgoing connections take theirs from.  One edge."""

from __future__ import annotations

import random
import socket

#: Below what any program's well-known port is likely to be, and below Linux' default range for outgoing connections.
_LOWEST, _HIGHEST = 12_000, 32_767
_handed: set[int] = set()


def free_port(host: str = "") -> int:
    """A port of ``host`` (an IP of ours; empty: all) that nobody listens on, and that was not handed out before."""
    highest = min(_HIGHEST, _ephemeral() - 1)
    candidates = range(_LOWEST, highest + 1) if highest - _LOWEST > 1000 else range(_LOWEST, 65_536)
    for _ in range(10_000):
        port = random.choice(candidates)
        if port not in _handed and _binds(host, port):
            _handed.add(port)
            return port
    _handed.clear()
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
