"""``fastroute-ctl announce`` as tests run it, and workers that say which signals they get."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from support.programs import ECHO_APP, Program

CTL = str(Path(sys.executable).with_name("fastroute-ctl"))

#: Listens on its port, prints the name of each signal, ends at SIGTERM with 7; ``late`` seconds until it listens.
LISTENER = """
    import os, signal, socket, sys, time
    def told(number, frame):
        print("got", signal.Signals(number).name, flush=True)
        if number in (signal.SIGTERM, signal.SIGINT):
            sys.exit(7)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        signal.signal(number, told)
    time.sleep(float(os.environ.get("LATE", "0")))
    sock = socket.create_server(("127.0.0.1", int(os.environ["FASTROUTE_PORT"])))
    print("listens", flush=True)
    while True:
        time.sleep(0.1)
"""


class Announced(Program):
    """``announce ARGUMENTS -- COMMAND``."""

    def __init__(self, *arguments: str, command: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        super().__init__(
            CTL, "announce", "--log-format", "text", *arguments, *(("--", *command) if command else ()), env=env
        )


def listener(directory: Path) -> tuple[str, ...]:
    """The command of ``LISTENER``."""
    script = directory / "listener.py"
    script.write_text(textwrap.dedent(LISTENER))
    return (sys.executable, str(script))


def uwsgi(directory: Path, name: str, *options: str) -> tuple[str, ...]:
    """A real uWSGI on ``{port}`` that answers ``NAME HOST LENGTH-OF-BODY``."""
    app = directory / f"{name}.py"
    app.write_text(f"NAME = {name!r}\n" + textwrap.dedent(ECHO_APP))
    return ("uwsgi", "--plugin", "python3", "--socket", "127.0.0.1:{port}", "--wsgi-file", str(app), "--master",
            "--threads", "4", "--die-on-term", *options)  # fmt: skip
