"""Engines behind TLS and ssh: the same calls and the same stream of events, and errors that say what is wrong."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.fake_docker import FakeDocker
from support.programs import wait_for

from fastroute.controller.decide import messages as m
from fastroute.controller.observe.docker_source import DockerSource
from fastroute.controller.observe.ssh_bridge import command

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <(ssl.SSLSocket|socket):ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(ssl.SSLSocket|socket):pytest.PytestUnraisableExceptionWarning"
    ),
]


class Followed:
    """A source and what it said."""

    def __init__(self, url: str) -> None:
        self.told: list[m.Message] = []
        self.source = DockerSource(url, self.told.append)

    def of(self, kind: type) -> list:  # type: ignore[type-arg]
        return [one for one in self.told if isinstance(one, kind)]


@contextmanager
def follow(url: str) -> Iterator[Followed]:
    followed = Followed(url)
    followed.source.start()
    try:
        yield followed
    finally:
        followed.source.stop()


def check_all_works(docker: FakeDocker, url: str) -> None:
    with follow(url) as followed:
        wait_for(lambda: followed.of(m.Connected), "the connection")
        one = docker.run("web-1", {"fastroute.key": "foo.com"})
        wait_for(lambda: [each for each in followed.of(m.Happened) if each.action == "start"], "the event")
        followed.source.take_list(1)
        followed.source.inspect(one.id, 1)
        wait_for(lambda: followed.of(m.Listed) and followed.of(m.Inspected), "the answers")
        assert followed.of(m.Inspected)[0].container.name == "web-1"


# TLS.


def pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    for each in (one, other):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, cert.pem and key.pem of one who may, for server (localhost) and client alike; stranger/ has others."""
    folder = tmp_path_factory.mktemp("certificates")
    for at in (folder, folder / "stranger"):
        at.mkdir(exist_ok=True)
        (at / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for line in (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca-key.pem -out ca.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -set_serial 1 -extfile extensions -out cert.pem",
        ):
            subprocess.run(["openssl", *line.split()], cwd=at, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls(docker: FakeDocker, certificates: Path) -> Iterator[int]:
    """A port where the engine is behind TLS that wants a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        try:
            front = context.wrap_socket(connection, server_side=True)
        except (OSError, ssl.SSLError):
            connection.close()
            return
        back = socket.socket(socket.AF_UNIX)
        back.connect(str(docker.path))
        threading.Thread(target=pump, args=(back, front), daemon=True).start()
        pump(front, back)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_tls_with_the_certificates_that_the_environment_names(
    docker, tls: int, certificates: Path, monkeypatch
) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    check_all_works(docker, f"tcp://localhost:{tls}")
    # And beside it an engine without.
    check_all_works(docker, docker.url)


def test_an_engines_own_certificates_are_in_a_folder_called_like_its_host(
    docker, tls, certificates, tmp_path, monkeypatch
) -> None:
    (tmp_path / "localhost").symlink_to(certificates)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    check_all_works(docker, f"tcp://localhost:{tls}")


def test_a_stranger_is_no_engine_of_ours(docker, tls: int, certificates: Path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates / "stranger"))
    with follow(f"tcp://localhost:{tls}") as followed:
        wait_for(lambda: followed.of(m.Disconnected), "the refusal")
        assert "certificate" in followed.of(m.Disconnected)[0].reason.lower()
    assert docker.asked == []


# ssh.

SSH = """#!{python}
import os, socket, sys, threading
assert sys.argv[-3:] == ["--", "engine.example", "docker system dial-stdio"], sys.argv
if os.path.exists({deny!r}):
    sys.exit("me@engine.example: Permission denied (publickey).")
engine = socket.socket(socket.AF_UNIX)
engine.connect({path!r})
def back():
    while data := engine.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back).start()
while data := os.read(0, 65536):
    engine.sendall(data)
os._exit(0)
"""


@pytest.fixture
def deny(docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is there, ``ssh`` is not let in."""
    deny, program = tmp_path / "deny", tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(python=sys.executable, path=str(docker.path), deny=str(deny)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return deny


def test_ssh_is_docker_system_dial_stdio_at_the_other_end(docker: FakeDocker, deny: Path) -> None:
    check_all_works(docker, "ssh://me@engine.example:2222")


def test_who_is_not_let_in_by_ssh_is_told_so_once_and_tries_again(
    docker, deny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deny.touch()
    with follow("ssh://me@engine.example") as followed:
        wait_for(lambda: len(followed.of(m.Disconnected)) > 1, "two refusals")
        wait_for(lambda: "Permission denied (publickey)" in caplog.text, "the reason")
        assert "Permission denied (publickey)" in followed.of(m.Disconnected)[-1].reason
        deny.unlink()
        wait_for(lambda: followed.of(m.Connected), "the connection")
    assert caplog.text.count("Permission denied") == 1


def test_the_command_line_of_ssh() -> None:
    assert command("ssh://me@host:22")[-7:] == ["-l", "me", "-p", "22", "--", "host", "docker system dial-stdio"]
    assert command("ssh://-oProxyCommand=x")[-3:-1] == ["--", "-oproxycommand=x"]
