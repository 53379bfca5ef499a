"""The self-check: what counts as "it comes here", and what is said of all else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from support.programs import free_port

from fastroute.certs.challenge import self_check
from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.challenge.self_check import NotHere, SelfCheck
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.protocol.address import parse_address

HOST = "foo.example.com"


@contextlib.contextmanager
def answering(responder: ChallengeResponder) -> Iterator[int]:
    """The program's own server of challenges."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = AdminServer(responder)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
        thread.start()
        yield sock.getsockname()[1]
        server.should_exit = True
        thread.join(5)


@contextlib.contextmanager
def stranger(*answers: bytes) -> Iterator[int]:
    """Somebody else, who gives these answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def check(port: int, responder: ChallengeResponder | None = None) -> None:
    SelfCheck(responder or ChallengeResponder(), parse_address(f"127.0.0.1:{port}")).check(HOST)


def test_our_own_challenge_is_enough_and_leaves_nothing_behind() -> None:
    responder = ChallengeResponder()
    with answering(responder) as port:
        check(port, responder)
    assert responder._answers == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 comes from there"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "something else answers there with 200"),
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer"),
        (b"HTTP/1.1 x OK\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n", "it redirects to 'ftp://x/'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "our challenge is not answered"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, "no HTTP answer"),
    ],
)
def test_whoever_else_answers_is_told_of(answer: bytes, why: str) -> None:
    with stranger(answer) as port, pytest.raises(NotHere, match="where our challenge is not answered") as caught:
        check(port)
    assert why in str(caught.value)
    assert f"{HOST} is looked for at 127.0.0.1:{port}" in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(NotHere, match="Connection refused"):
        check(free_port())


def test_a_redirect_on_the_same_host_is_followed_and_one_in_circles_is_not() -> None:
    responder = ChallengeResponder()
    with answering(responder) as port:
        moved = f"HTTP/1.1 301 Moved\r\nLocation: http://{HOST}:{port}/.well-known/acme-challenge/x\r\n\r\n".encode()
        with stranger(moved) as first, pytest.raises(NotHere, match="404 comes from there"):
            check(first, responder)
    # A path alone leads to port 80 of the same address, where nobody is, or somebody who does not know us.
    with stranger(*[b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"] * 9) as port, pytest.raises(NotHere):
        check(port)


def test_of_several_addresses_one_that_is_down_does_not_count_and_one_that_is_another_s_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    responder = ChallengeResponder()
    with answering(responder) as port:
        monkeypatch.setattr(self_check, "HTTP_PORT", port)

        def resolve(*ips: str) -> None:
            rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]
            monkeypatch.setattr(self_check, "getaddrinfo", lambda *_, **__: rows)

        resolve("127.0.0.9", "127.0.0.1")
        SelfCheck(responder).check(HOST)
        resolve("127.0.0.9")
        with pytest.raises(NotHere, match=r"foo\.example\.com resolves to 127\.0\.0\.9, where"):
            SelfCheck(responder).check(HOST)
        with socket.create_server(("127.0.0.9", port)) as other:
            threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
            resolve("127.0.0.1", "127.0.0.9")
            with pytest.raises(NotHere, match=r"127\.0\.0\.9"):
                SelfCheck(responder).check(HOST)


@pytest.mark.parametrize("token", ["", "../x", "a/b", "a b", "x" * 300, "é"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"), ChallengeResponder().answering(token, "x"):
        pass
