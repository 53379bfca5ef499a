"""EasyHAProxy as a process: what starts it, and what ends it with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.peers.others import program_of
from benchmarks.programs import accepts, free_port, wait_until

#: Its dashboard has a fixed port, so that two of them can't live side by side; each gets one of its own.
_START = (
    "import functions, sys; functions.Consts.DASHBOARD_SERVER_PORT = int(sys.argv.pop(1)); "
    "from easyhaproxy.main import main; main()"
)
#: HAProxy's pid file and socket are in /run, whichever folder is named: each gets a /run of its own.
_ALONE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "alone")
#: Each request would be a line of log through Python otherwise; the others write none by default.
_QUIET = ("--log-level", "WARN", "--haproxy-log-level", "WARN", "--certbot-log-level", "WARN",
          "--customer-errors", "false", "--haproxy-stats-enable", "false")  # fmt: skip
SAID = "no access log, no stats, no error pages of its own"
STATIC = """
containers:
  "{host}:{port}":
    ip: ["127.0.0.1:{worker}"]
"""


@contextlib.contextmanager
def easyhaproxy(home: Path, port: int, *options: str, environment: Mapping[str, str] = {}) -> Iterator[int]:
    """With ``options``, once it listens at ``port``; its pid.  Its files are in ``home``, which it takes from the
    environment only: ``--base-path`` comes too late for the file of hosts."""
    (home / "haproxy").mkdir(parents=True)
    python = Path(program_of("easy-haproxy")).with_name("python")
    command = [*_ALONE, str(python), "-c", _START, str(free_port()), *_QUIET, *options]
    environ = {**os.environ, **environment, "EASYHAPROXY_BASE_PATH": str(home)}
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=home, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        ) as process,
    ):
        try:
            wait_until(lambda: accepts(port) or process.poll() is not None, "EasyHAProxy listens", 90)
            if process.poll() is not None:
                raise RuntimeError(f"EasyHAProxy ended: {(home / 'log').read_text()[-1000:]}")
            yield process.pid
        finally:
            # Its HAProxy would outlive it.
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def static_easyhaproxy(home: Path, host: str, worker: int) -> Iterator[tuple[int, int]]:
    """With one host before the worker at this port, from its file; its pid and port."""
    port = free_port()
    (home / "static").mkdir(parents=True)
    (home / "static/config.yml").write_text(STATIC.format(host=host, port=port, worker=worker))
    with easyhaproxy(home, port, "--discover", "static") as pid:
        yield pid, port
