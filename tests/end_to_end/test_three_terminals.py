"""The article's set-up without Docker: nginx, fastroute-router and real uWSGI workers, each started by hand."""

from __future__ import annotations

import http.client
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from support.entries import make_entry
from support.programs import Nginx, Router, UwsgiFastRouter, UwsgiWorker, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet

from fastroute.router.protocol.subscription import Announcement, Entry, encode_plain


def get(nginx: Nginx, host: str, path: str = "/", method: str = "GET", body: bytes = b"") -> tuple[int, str]:
    """One strict request through nginx: no retry; status and first word of the body."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
    connection.request(method, path, body, {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text.split()[0] if text else ""


@pytest.fixture
def router() -> Iterator[Router]:
    with Router() as router:
        yield router


@pytest.fixture
def nginx(router: Router) -> Iterator[Nginx]:
    with Nginx(f"127.0.0.1:{router.port}") as nginx:
        yield nginx


def worker(router: Router, name: str, key: str = "foo.com") -> UwsgiWorker:
    return UwsgiWorker(name, subscribe=f"server=127.0.0.1:{router.port},key={key}")


def seen(nginx: Nginx, host: str, requests: int = 12) -> Counter[tuple[int, str]]:
    return Counter(get(nginx, host) for _ in range(requests))


def test_two_then_three_workers_share_the_requests_and_nothing_is_restarted(router: Router, nginx: Nginx) -> None:
    assert get(nginx, "foo.com")[0] == 404
    with worker(router, "one"), worker(router, "two"):
        router.wait_line("new pool: foo.com (hash key: 11571)")
        wait_for(lambda: len(seen(nginx, "foo.com")) == 2, "both workers answer")
        assert seen(nginx, "foo.com") == {(200, "one"): 6, (200, "two"): 6}
        with worker(router, "three") as three:
            router.wait_line(f"foo.com => new node: {three.address}")
            assert seen(nginx, "foo.com") == {(200, "one"): 4, (200, "two"): 4, (200, "three"): 4}


def test_killing_a_worker_loses_no_later_request(router: Router, nginx: Nginx) -> None:
    with worker(router, "one") as one, worker(router, "two"):
        wait_for(lambda: len(seen(nginx, "foo.com")) == 2, "both workers answer")
        one.kill()
        assert seen(nginx, "foo.com", 40) == {(200, "two"): 40}


def test_a_worker_that_says_goodbye_leaves_at_once(router: Router, nginx: Nginx) -> None:
    with worker(router, "one") as one, worker(router, "two"):
        wait_for(lambda: len(seen(nginx, "foo.com")) == 2, "both workers answer")
        one.stop(signal.SIGINT)
        router.wait_line(f"foo.com => node removed: {one.address} (withdrawn)")
        assert seen(nginx, "foo.com", 10) == {(200, "two"): 10}


def test_a_known_key_without_nodes_is_503_and_comes_back(router: Router, nginx: Nginx) -> None:
    with worker(router, "one") as one:
        wait_for(lambda: get(nginx, "foo.com")[0] == 200, "the worker answers")
        one.stop(signal.SIGINT)
        wait_for(lambda: get(nginx, "foo.com")[0] == 503, "the key is known and has no node")
    with worker(router, "again"):
        wait_for(lambda: get(nginx, "foo.com") == (200, "again"), "the new worker answers")


def test_requests_in_flight_finish_at_sigterm(router: Router, nginx: Nginx) -> None:
    with worker(router, "one") as one:
        wait_for(lambda: get(nginx, "foo.com")[0] == 200, "the worker answers")
        connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
        connection.request("GET", "/?sleep=1.5", headers={"Host": "foo.com"})
        one.wait_line("a request sleeps")
        router.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"one foo.com 0\n")
        connection.close()
        assert router.ended() == 0


def test_our_packets_make_the_original_route_and_unroute() -> None:
    head = Announcement(source="controller", instance=1, seq=1, ack=True)
    with UwsgiFastRouter() as original, UwsgiWorker("one") as one:
        entry = make_entry("foo.com", one.address, weight=2, owner="4f1c@2026-01-01T00:00:00Z")
        send_datagram(original.port, encode_plain(entry, head))
        wait_for(lambda: ask(original.port, "foo.com").node == "one", "the original routes to our node")
        gone = Entry("foo.com", one.address, owner=entry.owner, gone=True)
        send_datagram(original.port, encode_plain(gone, head))
        wait_for(lambda: ask(original.port, "foo.com").status == 0, "the original no longer routes to it")


def test_noise_on_both_sockets_hurts_nobody(router: Router, nginx: Nginx) -> None:
    import random
    import socket

    random.seed(7)
    with worker(router, "one"):
        wait_for(lambda: get(nginx, "foo.com")[0] == 200, "the worker answers")
        for size in [0, 1, 3, 4, 5, 100, 5000, 60_000] * 5:
            send_datagram(router.port, random.randbytes(size))
            with socket.create_connection(("127.0.0.1", router.port)) as connection:
                connection.sendall(random.randbytes(size))
        send_datagram(router.port, subscription_packet("k" * 2000, "127.0.0.1:1"))
        assert seen(nginx, "foo.com", 20) == {(200, "one"): 20}
        router.wait_line("refused")
