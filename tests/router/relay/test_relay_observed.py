"""What a real relay tells of its requests: access log, request ids, times."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

from support.relaying import RelayProcess, read_all
from support.uwsgi_client import request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, never_answers, refused_address, response


def logged(path: Path, count: int = 1, seconds: float = 10) -> list[dict[str, Any]]:
    """The first ``count`` lines, as soon as they are there."""
    wait_for(lambda: path.exists() and path.read_text().count("\n") >= count, seconds=seconds)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_answered_request_has_a_line_within_a_second(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, access_log=str(log), log_format="json") as relay, Worker(answers(b"12345")) as worker:
        relay.serve([("foo.com", worker.address)])
        packet = request_packet("foo.com", "POST", "/a?b", body=b"x" * 100_000, HTTP_X_REQUEST_ID="abc")
        relay.ask(packet)
        (line,) = logged(log, seconds=1)
        assert (line["key"], line["node"], line["status"], line["uri"]) == ("foo.com", worker.address, 200, "/a?b")
        assert (line["bytes"], line["received"]) == (len(response(b"12345")), len(packet))
        assert (line["tries"], line["error"], line["request_id"]) == (1, "", "abc")
        assert 0 <= line["answer_ms"] <= line["total_ms"] < 1000


def test_the_time_since_x_request_start_ends_when_a_node_takes_the_request(tmp_path: Path) -> None:
    def slow(connection: Connection) -> None:
        connection.read_packet()
        released.wait(10)
        connection.send(response(b"late"))

    log, released = tmp_path / "access.log", threading.Event()
    with RelayProcess(tmp_path, access_log=str(log), log_format="json", request_id=True) as relay, \
            Worker(slow) as worker:  # fmt: skip
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            started = time.time()
            client.sendall(request_packet("foo.com", HTTP_X_REQUEST_START=f"t={(started - 2) * 1000:.0f}"))
            wait_for(lambda: worker.requests)
            taken = time.time() - started
            wait_for(lambda: time.time() - started >= taken + 0.3)
            released.set()
            read_all(client)
        (line,) = logged(log)
        assert 2000 - 1 <= line["queue_ms"] <= 2000 + taken * 1000 + 250
        assert len(line["request_id"]) == 32
        relay.ask(request_packet("foo.com", HTTP_X_REQUEST_START="yesterday"))
        relay.ask(request_packet("nope.com", HTTP_X_REQUEST_START=f"t={time.time() * 1000:.0f}"))
        assert [line["queue_ms"] for line in logged(log, 3)[1:]] == [None, None]


def test_our_own_answers_are_logged_with_their_kind(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, access_log=str(log), log_format="json", admin=None) as relay:
        gone = refused_address()
        relay.serve([("foo.com", gone)])
        answer = relay.ask()
        relay.ask(request_packet("nope.com"))
        relay.ask(b"GET / HTTP/1.1\r\nHost: foo.com\r\n\r\n")
        lines = logged(log, 3)
        assert [(line["status"], line["error"]) for line in lines] == [
            (502, "bad-gateway"), (404, "no-key"), (400, "bad-request"),
        ]  # fmt: skip
        assert (lines[0]["node"], lines[0]["tries"], lines[0]["connect_ms"]) == (gone, 1, None)
        assert lines[0]["bytes"] > len(answer.body)


def test_the_status_header_of_a_cgi_like_worker_is_its_status(tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"Content-Type: text/plain\r\nStatus: 418 Teapot\r\n\r\nshort and stout")

    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, access_log=str(log), log_format="json") as relay, Worker(script) as worker:
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            while client.recv(1 << 16):
                pass
        assert logged(log)[0]["status"] == 418


def test_a_client_that_leaves_and_a_worker_that_breaks_off_are_told_apart(tmp_path: Path) -> None:
    begun = threading.Event()

    def breaks_off(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx")
        begun.wait(10)
        connection.reset()

    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, unix=True, access_log=str(log), log_format="json") as relay, \
            Worker(never_answers) as silent, Worker(breaks_off) as broken:  # fmt: skip
        relay.serve([("silent.com", silent.address), ("broken.com", broken.address)])
        with relay.connect() as client:
            client.sendall(request_packet("silent.com"))
            wait_for(lambda: silent.requests)
        (line,) = logged(log)
        assert (line["error"], line["status"], line["answer_ms"]) == ("client-gone", None, None)
        with relay.connect() as client:
            client.sendall(request_packet("broken.com"))
            assert client.recv(1)
            begun.set()
            with contextlib.suppress(ConnectionError):
                read_all(client)
        line = logged(log, 2)[1]
        assert (line["error"], line["status"]) == ("broken-off", 200)


def test_sigusr1_begins_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, access_log=str(log)) as relay:
        relay.serve()
        relay.ask(request_packet("one.com"))
        log.rename(tmp_path / "access.log.1")
        relay.process.send_signal(signal.SIGUSR1)
        wait_for(log.exists)
        relay.ask(request_packet("two.com"))
        wait_for(lambda: "key=two.com" in log.read_text())
        assert "key=one.com" in (tmp_path / "access.log.1").read_text()


def test_at_the_end_no_line_is_missing_those_of_requests_cut_off_neither(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with RelayProcess(tmp_path, access_log=str(log), log_format="json", drain_timeout=0.2) as relay, \
            Worker(never_answers) as worker, relay.connect() as client:  # fmt: skip
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        relay.ask(request_packet("nope.com"))
        relay.terminate()
        assert relay.process.wait(5) == 0
        assert sorted(line["error"] for line in logged(log, 2)) == ["cut-off", "no-key"]


def test_a_log_that_cannot_be_written_stops_nothing_and_is_said_once(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, access_log=str(tmp_path / "missing/access.log")) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        for _ in range(5):
            assert relay.ask().status == 200
            relay.hears(lambda: relay.totals.get("in_flight") == 0)
        assert relay.log.count("access log ") == 1


def test_without_the_option_vars_arrive_as_sent_and_with_it_every_request_has_an_id(tmp_path: Path) -> None:
    for asked in (False, True):
        folder = tmp_path / str(asked)
        folder.mkdir()
        log = folder / "access.log"
        settings = {"access_log": str(log), "log_format": "json", "request_id": asked}
        with RelayProcess(folder, **settings) as relay, Worker(answers()) as worker:  # type: ignore[arg-type]
            relay.serve([("foo.com", worker.address)])
            relay.ask(request_packet("foo.com", "POST", body=b"body"))
            relay.ask(request_packet("foo.com", HTTP_X_REQUEST_ID="mine"))
            made, given = (request.vars.get(b"HTTP_X_REQUEST_ID", b"").decode() for request in worker.requests)
            assert given == "mine"
            assert bool(re.fullmatch("[0-9a-f]{32}", made)) is asked
            assert [line["request_id"] for line in logged(log, 2)] == [made, "mine"]


def test_our_own_answer_names_the_request(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        relay.serve()
        assert relay.ask(request_packet("nope.com", HTTP_X_REQUEST_ID="abc-1")).headers["x-request-id"] == "abc-1"
        answer = relay.ask(request_packet("nope.com", HTTP_X_REQUEST_ID="abc\r\nSet-Cookie: x=1"))
        assert answer.headers.keys().isdisjoint({"x-request-id", "set-cookie"})


def test_without_admin_and_access_log_nothing_is_measured(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, admin=None) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        relay.ask()
        relay.hears(lambda: relay.hits.get("foo.com") == 1 and relay.totals.get("in_flight") == 0)
        assert [row[-2] for said in relay.said if said[0] == "counters" for row in said[1]["nodes"]][-1] is None
