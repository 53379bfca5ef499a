"""``top`` with a real router under load: on a terminal (which pyte plays), in a pipe, as JSON."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from support.programs import Router, UwsgiWorker, free_port, wait_for
from support.survival import Load
from support.uwsgi_client import ask, send_datagram, subscription_packet

CTL = str(Path(sys.executable).with_name("fastroute-ctl"))


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    with UwsgiWorker("one") as worker, Router("--wait", "0", "--tolerance", "600") as router:
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        send_datagram(router.port, subscription_packet("idle.com", worker.address))
        router.wait_line("idle.com => new node")
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "it serves")
        with Load(router.port, "foo.com", threads=1):
            yield router


def environ(router: Router) -> dict[str, str]:
    found = {**os.environ, "TERM": "xterm", "FASTROUTE_ROUTER_URL": f"http://127.0.0.1:{router.admin_port}",
             "FASTROUTE_CONTROLLER_URL": "http://127.0.0.1:1"}  # fmt: skip
    found.pop("NO_COLOR", None)
    return found


def run(router: Router, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CTL, "top", *arguments], env=environ(router), capture_output=True, text=True, timeout=60,
                          check=False)  # fmt: skip


def test_in_a_pipe_it_prints_once(router: Router) -> None:
    done = run(router)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:3] == ["KEY", "/", "NODE"]
    assert [row[0] for row in rows[1:] if row[0].endswith(".com")] == ["foo.com", "idle.com"]
    assert float(rows[1][1]) > 0


def test_as_json_it_has_what_the_routers_say_added_up(router: Router) -> None:
    done = run(router, "-o", "json", "--also", f"http://127.0.0.1:{router.admin_port}", "foo.com")
    found: dict[str, Any] = json.loads(done.stdout)
    (key,) = found["keys"]
    assert (found["schema"], found["routers"], key["key"]) == ("fastroute.top/v1", 2, "foo.com")
    assert found["rate"] == key["rate"] > 0
    assert key["statuses"]["2xx"] > 0
    assert key["nodes"][0]["p95_ms"] >= key["nodes"][0]["p50_ms"] > 0


def test_a_router_that_does_not_answer_is_said_and_the_others_are_shown(router: Router) -> None:
    done = run(router, "--also", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "foo.com" in done.stdout
    assert "can't reach the router" in done.stderr
    none = run(router, "--router-url", f"http://127.0.0.1:{free_port()}")
    assert (none.returncode, none.stdout) == (3, "")


class Terminal:
    """``fastroute-ctl top`` on a terminal of 80 columns and 24 lines."""

    def __init__(self, router: Router) -> None:
        self.screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""
        self._ours, theirs = pty.openpty()
        self._size(theirs, 80, 24)
        self.process = subprocess.Popen([CTL, "top"], stdin=theirs, stdout=theirs, stderr=theirs, env=environ(router))
        os.close(theirs)

    @staticmethod
    def _size(fd: int, columns: int, lines: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self._size(self._ours, columns, lines)
        self.screen.resize(lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait_for(self, condition: Callable[[list[str]], Any], what: str) -> list[str]:
        def met() -> list[str]:
            while select.select([self._ours], [], [], 0.05)[0]:
                try:
                    data = os.read(self._ours, 65536)
                except OSError:
                    break
                self.sent += data
                self._stream.feed(data)
                lines = [line.rstrip() for line in self.screen.display]
                if condition(lines):
                    return lines
            return []

        return wait_for(met, lambda: f"{what}; the screen is\n" + "\n".join(self.screen.display))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(router: Router) -> Iterator[Terminal]:
    found = Terminal(router)
    yield found
    found.close()


def test_on_a_terminal_it_is_redrawn_in_place_and_obeys_keys(terminal: Terminal) -> None:
    lines = terminal.wait_for(lambda rows: any(row.startswith("foo.com") for row in rows), "the key is shown")
    assert "1 router " in lines[0]
    assert lines[1].startswith("KEY / NODE")
    rate = next(row for row in lines if row.startswith("foo.com")).split()[1]
    moved = lambda row: row.startswith("foo.com") and row.split()[1] != rate  # noqa: E731
    # A look that failed has a line of its own above.
    terminal.wait_for(lambda rows: any(map(moved, rows)), "the rate moves")
    terminal.type("n")
    terminal.wait_for(lambda rows: rows[1].startswith("*KEY"), "sorted by name")
    terminal.type("/idle\r")
    terminal.wait_for(lambda rows: rows[2].startswith("idle.com") and rows[4].startswith("filter: idle "), "filtered")
    terminal.type("f")
    frozen = terminal.wait_for(lambda rows: "FROZEN" in rows[0], "frozen")
    terminal.resize(120, 10)
    wide = terminal.wait_for(lambda rows: len(rows[1]) > 80, "as wide as the terminal")
    assert wide[0].split()[0] == frozen[0].split()[0], "frozen numbers are those of then, however they are drawn"
    terminal.type("q")
    assert terminal.process.wait(20) == 0
    assert b"\x1b[2J" not in terminal.sent, "a screen that is cleared flickers"


def test_it_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.wait_for(lambda rows: any(row.startswith("foo.com") for row in rows), "the key is shown")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(20) == 130
    terminal.wait_for(lambda rows: terminal.sent.count(b"\x1b[?1049l") == 1, "the first screen is back")
    assert termios.tcgetattr(terminal._ours)[3] & termios.ICANON
