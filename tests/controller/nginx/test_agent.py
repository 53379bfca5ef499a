"""The agent beside nginx and the controller's end of it, over a real socket."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastroute.controller.nginx import agent as agent_module
from fastroute.controller.nginx.agent import MAX_CONNECTIONS, MAX_LINE, AgentServer, answer_to, listen
from fastroute.controller.nginx.agent_link import AgentNginx
from fastroute.controller.nginx.local import NginxUnreachable


class FakeNginx:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def test(self, generation: str) -> str:
        self.asked.append(("test", generation))
        return "unknown directive"

    def reload(self, generation: str) -> str:
        self.asked.append(("reload", generation))
        if generation.startswith("dead"):
            raise NginxUnreachable("no nginx program")
        return ""

    def running(self) -> str:
        return "abcdef0123"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[str, FakeNginx]]:
    path, nginx = str(tmp_path / "agent.sock"), FakeNginx()
    with listen(path) as listener:
        server = AgentServer(listener, nginx)

        def serve() -> None:
            while True:
                try:
                    server.turn()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield path, nginx
        listener.shutdown(socket.SHUT_RDWR)


def test_the_verbs_by_way_of_the_socket(agent: tuple[str, FakeNginx]) -> None:
    path, nginx = agent
    link = AgentNginx(path)
    assert link.running() == "abcdef0123"
    assert link.test("0123456789abcdef0123") == "unknown directive"
    assert link.reload("0123456789abcdef0123") == ""
    with pytest.raises(NginxUnreachable, match="no nginx program"):
        link.reload("deadbeef")
    assert [verb for verb, _ in nginx.asked] == ["test", "reload", "reload"]
    assert oct(os.stat(path).st_mode)[-3:] == "660"


REFUSED = (
    b"", b"\n", b"[]\n", b"{\n", b"[" * 4000 + b"\n", b"\xff\n", b" " * (MAX_LINE + 1),
    b'{"verb": "stop"}\n', b'{"verb": "test"}\n', b'{"verb": "test", "generation": 7}\n',
    b'{"verb": "test", "generation": "../../etc"}\n', b'{"verb": "reload", "generation": "0123456789/x"}\n',
)  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_anything_else_is_refused(agent: tuple[str, FakeNginx], line: bytes) -> None:
    _, nginx = agent
    assert set(answer_to(line, nginx)) == {"error"}
    assert nginx.asked == []


def test_rude_peers_hold_up_nobody(agent: tuple[str, FakeNginx]) -> None:
    path, _ = agent
    for data in (b"", b"x" * 100_000, b'{"verb"'):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(path)
            try:
                rude.sendall(data)
            except OSError:
                pass
    assert AgentNginx(path).running() == "abcdef0123"


def test_who_says_nothing_or_half_a_line_holds_up_nobody(agent: tuple[str, FakeNginx]) -> None:
    path, _ = agent
    with ExitStack() as stack:
        for number in range(3 * MAX_CONNECTIONS):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(path)
            if number % 2:
                silent.sendall(b'{"verb": "run')
        began = time.monotonic()
        assert AgentNginx(path).running() == "abcdef0123"
        assert time.monotonic() - began < agent_module.LINE_TIMEOUT / 2


def test_a_line_that_does_not_end_has_its_time(agent: tuple[str, FakeNginx], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "LINE_TIMEOUT", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(10)
        silent.connect(agent[0])
        silent.sendall(b"{")
        assert silent.recv(1) == b""


def test_no_agent_says_nothing_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(NginxUnreachable, match="does not answer"):
        AgentNginx(str(tmp_path / "none.sock")).test("0123456789")


def test_a_socket_left_behind_is_replaced_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    listen(str(path)).close()
    listen(str(path)).close()
    path.unlink()
    path.write_text("mine")
    with pytest.raises(OSError, match="no socket"):
        listen(str(path))
    assert path.read_text() == "mine"


def test_the_agent_needs_the_standard_library_only() -> None:
    """It goes into nginx's image, which has no other."""
    code = (
        "import sys, fastroute.controller.nginx.agent; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {name for name in done.stdout.split() if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign <= {"fastroute", "sitecustomize"}
    assert json.dumps(sorted(foreign))
