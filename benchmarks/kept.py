"""``python -m benchmarks.kept``: connections that are kept on both sides of the HTTP front, small answers.

wrk -> X -> one worker that speaks HTTP/1.1, 16 connections, no nginx.  X are builds of our router, HAProxy where it is
installed, and the floor: a relay in C that does nothing but read and write (kept.c).  They take turns; what counts is
the CPU of all processes of X, as the scheduler counted it.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import programs, report
from benchmarks.accounting import machine
from benchmarks.programs import Subject, free_port, running, wait_until
from benchmarks.scenarios import Plan, Result, alternate, requesting

FLOOR, PEER = "C loop", "HAProxy"
_HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    option forwardfor
    default_backend workers
backend workers
    server one 127.0.0.1:{worker}
"""


@contextlib.contextmanager
def subjects(folder: Path, builds: dict[str, str]) -> Iterator[list[Subject]]:
    """All that is measured, in front of one worker."""
    program, worker = folder / "kept", free_port()
    subprocess.run(["gcc", "-O2", "-o", str(program), str(Path(__file__).with_name("kept.c"))], check=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running([str(program), "worker", str(worker)], folder))
        commands = {
            build: [router, "--listen", str(folder / f"{build}.sock"), "--listen-http", "127.0.0.1:{port}",
                    "--subscription-server", "none", "--admin", "none",
                    "--node", f"{programs.KEY}=127.0.0.1:{worker},protocol=http", "--log-level", "warning"]
            for build, router in builds.items()
        }  # fmt: skip
        if shutil.which("haproxy"):
            commands[PEER] = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        commands[FLOOR] = [str(program), "relay", "{port}", str(worker)]
        found = []
        for name, command in commands.items():
            port = free_port()
            if name == PEER:
                (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=port, worker=worker))
            process = stack.enter_context(running([word.format(port=port) for word in command], folder))
            found.append(Subject(name, process.pid, f"127.0.0.1:{port}", port))
        for subject in found:
            with programs.log_in_error(folder, commands[subject.name][0]):
                wait_until(partial(programs.answers, subject.port), f"{subject.name} answers")
        yield found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="append", default=[], metavar="NAME=PROGRAM", help="another router of ours")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    builds = {programs.OURS: programs.our_program(), **dict(build.split("=", 1) for build in arguments.build)}
    plan = Plan(arguments.rounds, arguments.seconds, 0, 0, 0, arguments.connections, builds)
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, subjects(Path(name), builds) as found:
        result = alternate(Result("hello, kept HTTP connections", "request"), found, plan.rounds, requesting(plan))
    print(f"{machine()}. {plan.rounds} rounds of {plan.seconds} s, {plan.connections} connections.\n")
    print(report.markdown(report.HEAD, report.rows([result])))
    for build in builds:
        ratios = ", ".join(
            f"{result.ratio(build, other, 'cpu'):.2f} of {other}'s" for other in (PEER, FLOOR) if other in result.rounds
        )
        print(f"{build}: CPU per request {ratios}")


if __name__ == "__main__":
    main()
