"""nginx mode: what a request goes through while nodes are away and nginx does not know yet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product

import pytest
from support.nginx_mode import PROGRAMS, ServedNginx, Sink
from support.nginx_states import route
from support.workers import BlackHole, Connection, Worker, answers, closes_early, http, response


@contextmanager
def refusing(number: int) -> Iterator[list[str]]:
    """Addresses that refuse; nobody else gets them meanwhile."""
    with ExitStack() as held:
        addresses = []
        for _ in range(number):
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{one.getsockname()[1]}")
        yield addresses


def answers_http(connection: Connection) -> None:
    """Takes a request with a body of three bytes, or without one."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.exactly(1)
    if b"Content-Length: 3" in head:
        connection.exactly(3)
    connection.send(response(b"fine", b"Connection: close\r\n"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_request_finds_the_one_that_is_left_of_many_that_stopped_together(program: str) -> None:
    """nginx asks in the order of the addresses: the one that serves is the last."""
    with ServedNginx(PROGRAMS[program]) as nginx, refusing(7) as gone, ExitStack() as running:
        sink = Sink(nginx)
        running.callback(sink.close)
        scripts = {"uwsgi": answers(b"fine"), "http": answers_http}
        routes = []
        for protocol, algorithm in product(scripts, ("wrr", "wlrc", "iphash", "random2")):
            key, more = f"{protocol}-{algorithm}.com", {"protocol": protocol, "algorithm": algorithm}
            left = running.enter_context(Worker(scripts[protocol], host="127.0.0.2"))
            routes += [route(key, address, f"gone-{address}", **more) for address in gone]
            routes += [route(key, left.address, "left", **more)]
        sink.settle(*routes)
        for key in sorted({one.entry.key for one in routes}):
            assert nginx.get(key, method="POST", body=b"pay").text == "fine", key
            assert nginx.get(key).text == "fine", key


def test_a_black_hole_among_the_nodes_does_not_send_a_request_back_to_those_that_failed() -> None:
    """It costs 3 s, and what refused before is due again after 2: nginx still tries nobody twice, so all are tried."""
    with ServedNginx() as nginx, refusing(4) as gone, BlackHole() as hole, ExitStack() as running:
        sink = Sink(nginx)
        running.callback(sink.close)
        scripts = {"uwsgi": answers(b"fine"), "http": answers_http}
        routes = []
        for protocol, algorithm in product(scripts, ("wrr", "wlrc", "iphash", "random2")):
            key, more = f"{protocol}-{algorithm}.com", {"protocol": protocol, "algorithm": algorithm}
            left = running.enter_context(Worker(scripts[protocol], host="127.0.0.2"))
            # No unix socket that is not there: nginx 1.22 may wait without a time-out for the node after it.
            addresses = [*gone, hole.address, left.address]
            routes += [route(key, address, f"c{number}", **more) for number, address in enumerate(addresses)]
        sink.settle(*routes)
        keys = sorted({one.entry.key for one in routes})
        with ThreadPoolExecutor(len(keys)) as at_once:
            for _ in range(2):
                assert [answer.text for answer in at_once.map(nginx.get, keys)] == ["fine"] * len(keys)


def test_a_request_goes_to_no_node_twice() -> None:
    with ServedNginx() as nginx, ExitStack() as running:
        sink = Sink(nginx)
        running.callback(sink.close)
        broken = [running.enter_context(Worker(closes_early)) for _ in range(5)]
        sink.settle(*(route("foo.com", one.address, f"c{number}") for number, one in enumerate(broken)))
        assert nginx.get("foo.com").status == 502
        assert [len(one.requests) for one in broken] == [1] * 5


ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"


def fails(connection: Connection) -> None:
    connection.read_packet()
    connection.send(ERROR)


@contextmanager
def one_of_two_failing(nginx: ServedNginx, protocol: str) -> Iterator[tuple[Worker, Worker]]:
    """Two workers, of which the first answers 500, with the keys asked.com (``eject: errors``) and plain.com."""
    uwsgi = protocol == "uwsgi"
    good_script, bad_script = (answers(b"fine"), fails) if uwsgi else (http(response(b"fine")), http(ERROR))
    with Worker(bad_script) as bad, Worker(good_script, host="127.0.0.2") as good:
        sink = Sink(nginx)
        try:
            sink.settle(
                *(
                    route(key, worker.address, f"{key}-{number}", protocol=protocol, eject=eject)
                    for key, eject in (("asked.com", "errors"), ("plain.com", ""))
                    for number, worker in enumerate((bad, good))
                )
            )
            yield bad, good
        finally:
            sink.close()


@pytest.mark.parametrize("protocol", ["uwsgi", "http"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_where_the_label_asks_for_it_ten_errors_leave_a_node_out_and_no_post_is_sent_twice(
    program: str, protocol: str
) -> None:
    with ServedNginx(PROGRAMS[program]) as nginx, one_of_two_failing(nginx, protocol) as (bad, good):
        assert {nginx.get("plain.com").status for _ in range(10)} == {200, 500}
        before = len(bad.requests) + len(good.requests)
        assert {nginx.get("asked.com", method="POST", body=b"pay").status for _ in range(10)} == {200, 500}
        assert len(bad.requests) + len(good.requests) == before + 10
        before = len(bad.requests)
        assert {nginx.get("asked.com").status for _ in range(24)} == {200}, "errors are asked of the other node again"
        assert len(bad.requests) - before == 10, "all of nginx's workers count together"
        assert {nginx.get("asked.com", method="POST", body=b"pay").status for _ in range(4)} == {200}
        assert {nginx.get("plain.com").status for _ in range(10)} == {200, 500}, "each key counts for itself"


def test_where_all_answer_errors_all_are_out() -> None:
    """docs/nginx-mode.md: nginx counts failures, not shares, other than the router."""
    with ServedNginx() as nginx, Worker(fails) as first, Worker(fails, host="127.0.0.2") as second:
        sink = Sink(nginx)
        try:
            sink.settle(*(route("asked.com", worker.address, f"c{number}", eject="errors")
                          for number, worker in enumerate((first, second))))  # fmt: skip
            statuses = [nginx.get("asked.com").status for _ in range(30)]
            assert (statuses[0], statuses[-1]) == (500, 502), statuses
        finally:
            sink.close()


def test_what_an_include_says_of_errors_stands_in_place_of_ours() -> None:
    with ServedNginx() as nginx:
        includes = nginx.home / "templates/includes"
        includes.mkdir()
        (includes / "asked.com.location.conf").write_text("uwsgi_next_upstream error;\n")
        with one_of_two_failing(nginx, "uwsgi"):
            assert {nginx.get("asked.com").status for _ in range(30)} == {200, 500}
