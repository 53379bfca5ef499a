"""Where the program begins: the health check's short way, where good is good and everything else goes the whole way;
and where it ends when nobody reads any more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastroute.ctl import entry


@pytest.fixture
def answering() -> Iterator[tuple[str, list[bytes]]]:
    """An address on loopback where each connection gets the answer that is in the list."""
    answer = [b"HTTP/1.1 200 OK\r\n\r\nok\n"]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    assert connection.recv(1000).startswith(b"GET /readyz HTTP/1.1\r\n")
                    connection.sendall(answer[0])

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", answer
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def pid1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What PID 1 was started as."""
    cmdline = tmp_path / "cmdline"
    cmdline.write_bytes(b"/usr/bin/python3\0/usr/local/bin/fastroute-controller\0")
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda name, *more, **rest: real(cmdline if name == "/proc/1/cmdline" else name, *more, **rest)
    )
    return cmdline


def test_a_program_that_is_ready_is_plainly_so(answering, pid1, monkeypatch: pytest.MonkeyPatch) -> None:
    address, answer = answering
    monkeypatch.setenv("FASTROUTE_ADMIN", address)
    assert entry.plainly_ready()
    answer[0] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    assert not entry.plainly_ready()


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["python3", "/bin/fastroute-router"], "", "127.0.0.1:3033"),
        (["python3", "/bin/fastroute-controller"], "", "127.0.0.1:3034"),
        (["python3", "/bin/fastroute-router"], "/run/admin.sock", "/run/admin.sock"),
        (["python3", "/bin/fastroute-router"], "10.0.0.1:80", "10.0.0.1:80"),
        (["python3", "/bin/fastroute-router", "--admin", "none"], "", ""),
        (["python3", "/bin/fastroute-router", "--admin=[::1]:1"], "", ""),
        (["python3", "/bin/fastroute-router"], "none", ""),
        (["python3", "/bin/fastroute-router"], "0.0.0.0:3033", "127.0.0.1:3033"),
        (["python3", "/bin/fastroute-certs"], "", "127.0.0.1:3037"),
        (["python3", "/bin/fastroute-router"], ":3033", ""),
        (["python3", "/bin/fastroute-router"], "[::1]:3033", ""),
        (["python3", "/bin/fastroute-router"], "name:3033", ""),
        (["sh", "-c", "something else"], "", ""),
    ],
)
def test_whatever_is_not_simple_goes_the_whole_way(words, environ, expected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTROUTE_ADMIN", environ)
    assert entry._admin(words) == expected


def test_the_page_is_asked_where_browsers_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    page = ["python3", "/bin/fastroute-page"]
    monkeypatch.delenv("FASTROUTE_LISTEN", raising=False)
    assert entry._admin(page) == "127.0.0.1:3036"
    monkeypatch.setenv("FASTROUTE_LISTEN", "0.0.0.0:8081")
    assert entry._admin(page) == "127.0.0.1:8081"
    monkeypatch.setenv("FASTROUTE_LISTEN", "/run/page.sock,127.0.0.1:8081")
    assert entry._admin(page) == ""
    assert entry._admin([*page, "--listen", "127.0.0.1:1"]) == ""


def test_nobody_there_and_no_program_go_the_whole_way(pid1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("FASTROUTE_ADMIN", f"127.0.0.1:{server.getsockname()[1]}")
    assert not entry.plainly_ready()
    pid1.write_bytes(b"init\0")
    assert not entry.plainly_ready()


@pytest.mark.parametrize("words", [("completion", "zsh"), ("--help",), ("version",)])
def test_a_reader_that_has_seen_enough_is_no_failure(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        argv = [sys.executable, "-m", "fastroute.ctl.main", *words]
        ran = subprocess.run(argv, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
