"""``PYTHONPATH=tests python -m benchmarks.recreate CADDY``: a service's only container is recreated, behind nginx and
our router and behind Caddy.

The stack of compose.yaml stands in a project of its own.  Beside it stands a Caddy (the program CADDY) in a container
on the workers' network, with ``lb_try_duration 15s``, which names the same service as its upstream.  Both get 100
requests a second, GET and POST in turn, by a client that never retries, while ``docker compose up -d
--force-recreate`` replaces the one container, again and again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from support.deployed import Deployed
from support.open_load import OpenLoad
from support.programs import free_port, wait_for
from support.stack import Stack, standing

from benchmarks.accounting import machine
from benchmarks.report import aligned

HOST, SERVICE = "http.test", "http"
CADDYFILE = """
{{
    admin off
    auto_https off
}}
:8080 {{
    reverse_proxy {service}:3031 {{
        lb_try_duration 15s
        lb_try_interval 250ms
    }}
}}
"""


@contextlib.contextmanager
def caddy(stack: Stack, program: Path, folder: Path) -> Iterator[int]:
    """Caddy on the workers' network; its port."""
    port, file = free_port(), folder / "Caddyfile"
    file.write_text(CADDYFILE.format(service=SERVICE))
    folder.chmod(0o755)
    mounts = ("-v", f"{program}:/caddy:ro", "-v", f"{file}:/Caddyfile:ro")
    command = ("--entrypoint", "/caddy", stack.image("bar"), "run", "--adapter", "caddyfile", "--config", "/Caddyfile")
    with stack.container("-p", f"127.0.0.1:{port}:8080", "--user", "0", *mounts, *command):
        wait_for(lambda: _answers(stack, port), "Caddy answers")
        yield port


def _answers(stack: Stack, port: int) -> bool:
    """Until Caddy listens, Docker's proxy resets connections."""
    with contextlib.suppress(OSError):
        return stack.get(HOST, port=port).status == 200
    return False


def measure(deployed: Deployed, ports: dict[str, int], rounds: int, rate: float) -> list[list[str]]:
    """One line for each way."""
    with contextlib.ExitStack() as stack:
        loads = {name: stack.enter_context(OpenLoad(port, (HOST,), rate)) for name, port in ports.items()}
        for _ in range(rounds):
            time.sleep(1)
            deployed.compose("up", "-d", "--force-recreate", SERVICE, WAIT="15s")
            wait_for(lambda: deployed.answered_by()[HOST] == deployed.host_name(SERVICE), "the new one answers", 60)
            time.sleep(1)
    lines = []
    for name, load in loads.items():
        kinds = Counter(f"{outcome.method} {outcome.status or 'cut short'}" for outcome in load.failed)
        shown = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
        lines.append([name, str(len(load.outcomes)), str(len(load.failed)), shown, f"{load.slowest(HOST):.2f}"])
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-recreate ARGS=...", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("caddy", type=Path, help="Caddy's program")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second for each way (default 100)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as folder, standing() as stack:
        deployed = Deployed(stack)
        deployed.compose("up", "-d", WAIT="15s")
        try:
            deployed.wait_answered()
            with caddy(stack, arguments.caddy.resolve(), Path(folder)) as port:
                ports = {"nginx + fastroute, wait 15 s": stack.port, "Caddy, lb_try_duration 15s": port}
                lines = measure(deployed, ports, arguments.rounds, arguments.rate)
        finally:
            deployed.compose("down", "--timeout", "1")
    print(f"{machine()}, load average {os.getloadavg()[0]:.1f}; {arguments.rounds} recreates", file=sys.stdout)
    print(aligned(["way", "requests", "failed", "of them", "longest, s"], lines))


if __name__ == "__main__":
    main()
