"""A real relay: which requests reach which worker, and what is answered when none can."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.relaying import RelayProcess
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, never_answers, refused_address, response


@pytest.fixture(params=["tcp", "unix"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelayProcess]:
    with RelayProcess(tmp_path, unix=request.param == "unix", client_timeout=1.0, timeout=1.0) as process:
        yield process


def test_requests_alternate_between_the_nodes_of_their_key(relay: RelayProcess) -> None:
    with Worker(answers(b"one")) as one, Worker(answers(b"two")) as two, Worker(answers(b"bar")) as bar:
        relay.serve([("foo.com", one.address), ("foo.com", two.address), ("bar.com", bar.address)])
        assert Counter(relay.ask().body for _ in range(6)) == {b"one": 3, b"two": 3}
        assert relay.ask(request_packet("bar.com")).body == b"bar"


def test_the_packet_arrives_as_it_was_sent_but_for_the_modifiers_of_the_node(relay: RelayProcess) -> None:
    with Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address, 1, 0, 0, 5, 9)])
        sent = request_packet("foo.com", HTTP_COOKIE="c" * 3000)
        assert relay.ask(sent).status == 200
        assert worker.requests[0].header == b"\x05" + sent[1:3] + b"\x09"
        assert worker.requests[0].vars[b"HTTP_COOKIE"] == b"c" * 3000


def test_unix_abstract_and_ipv6_nodes(relay: RelayProcess, tmp_path: Path) -> None:
    names = (tmp_path / "w.sock", f"\0fastroute-test-{tmp_path.name}")
    with (
        Worker(answers(b"a"), path=names[0]) as a,
        Worker(answers(b"b"), path=names[1]) as b,
        Worker(answers(b"c"), host="::1") as c,
    ):
        relay.serve([("a", a.address), ("b", b.address.replace("\0", "@")), ("c", c.address)])
        assert [relay.ask(request_packet(key)).body for key in "abc"] == [b"a", b"b", b"c"]


def test_a_key_nobody_knows_is_404(relay: RelayProcess) -> None:
    relay.serve()
    answer = relay.ask(request_packet("nope.com"))
    assert (answer.status, answer.headers["x-fastroute-error"]) == (404, "no-key")
    assert b"nope.com" in answer.body
    assert answer.headers["content-length"] == str(len(answer.body))


def test_a_known_key_without_a_live_node_is_503_and_says_when_to_retry(relay: RelayProcess) -> None:
    relay.serve(keys=["foo.com"])
    answer = relay.ask()
    assert (answer.status, answer.headers["x-fastroute-error"]) == (503, "no-node")
    assert answer.headers["retry-after"] == "1"


def test_a_worker_that_does_not_answer_in_time_is_504_and_gets_its_side_closed(relay: RelayProcess) -> None:
    closed: list[bool] = []

    def waits(connection: Connection) -> None:
        never_answers(connection)
        closed.append(True)

    with Worker(waits) as worker:
        relay.serve([("foo.com", worker.address)])
        answer = relay.ask()
        assert (answer.status, answer.headers["x-fastroute-error"]) == (504, "timeout")
        assert wait_for(lambda: closed)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: foo.com\r\n\r\n",
        b"\0\x05\0\0\xff\xff\0\0\0",
        b"\0\x04\0\0\0\0\0\0",
        b"\0\0\0\0",
        request_packet("", SERVER_NAME=""),
        request_packet("foo.com").replace(b"HTTP_HOST\7\0", b"HTTP_HOST\x08\0"),
    ],
)
def test_what_is_not_a_uwsgi_request_is_400(relay: RelayProcess, data: bytes) -> None:
    relay.serve(keys=["foo.com"])
    answer = relay.ask(data)
    assert (answer.status, answer.headers["x-fastroute-error"]) == (400, "bad-request")


def test_a_packet_that_stalls_or_is_cut_is_400(relay: RelayProcess) -> None:
    relay.serve(keys=["foo.com"])
    with relay.connect() as stalled, relay.connect() as cut:
        for client in (stalled, cut):
            client.sendall(request_packet("foo.com")[:50])
        cut.shutdown(socket.SHUT_WR)
        assert read_answer(cut).status == 400
        assert read_answer(stalled).status == 400


def test_a_packet_in_single_bytes_is_a_request_like_any_other(relay: RelayProcess) -> None:
    with Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            for byte in request_packet("foo.com", "POST", body=b"xyz"):
                client.sendall(bytes([byte]))
            assert read_answer(client).status == 200
        assert worker.requests[0].vars[b"CONTENT_LENGTH"] == b"3"


def test_vars_up_to_the_formats_limit_pass(relay: RelayProcess) -> None:
    with Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        room = 65_535 - (len(request_packet("foo.com", HTTP_COOKIE="")) - 4)
        assert relay.ask(request_packet("foo.com", HTTP_COOKIE="c" * room)).status == 200
        assert len(worker.requests[0].vars[b"HTTP_COOKIE"]) == room


def test_vars_over_buffer_size_are_413_even_with_a_body_behind(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, buffer_size=4096) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        answer = relay.ask(request_packet("foo.com", "POST", body=b"b" * 500_000, HTTP_COOKIE="c" * 5000))
        assert (answer.status, answer.headers["x-fastroute-error"]) == (413, "too-large")
        assert relay.ask().status == 200


def test_an_error_for_a_request_with_a_body_arrives_although_nobody_reads_the_body(relay: RelayProcess) -> None:
    relay.serve()
    assert relay.ask(request_packet("nope.com", "POST", body=b"b" * 3_000_000)).status == 404


def test_a_client_that_sends_on_after_our_answer_and_half_closes_gets_no_reset(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, unix=True, buffer_size=1024) as relay, relay.connect() as client:
        relay.serve()
        assert relay.ask(request_packet("nope.com")).status == 404
        before = relay.descriptors()
        client.sendall(request_packet("foo.com", HTTP_COOKIE="c" * 2000)[:1000])
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 413")
        relay.process.send_signal(signal.SIGSTOP)
        client.sendall(bytes(50_000))
        client.shutdown(socket.SHUT_WR)
        relay.process.send_signal(signal.SIGCONT)
        wait_for(lambda: relay.descriptors() < before)
        assert client.recv(1000) == b""


def test_a_client_that_connects_and_leaves_is_nobodys_business(relay: RelayProcess) -> None:
    relay.serve()
    before = relay.descriptors()
    for _ in range(20):
        relay.connect().close()
    assert relay.ask(request_packet("nope.com")).status == 404
    assert wait_for(lambda: relay.descriptors() <= before)
    relay.hears(lambda: relay.totals.get("requests") == 1)


def test_fallback_serves_unknown_keys_and_never_instead_of_live_nodes(tmp_path: Path) -> None:
    spare, foo = Worker(answers(b"fallback")), Worker(answers(b"foo"))
    with spare, foo, RelayProcess(tmp_path, fallback=["spare.example:80"]) as relay:
        relay.serve([("foo.com", foo.address), ("foo.com", refused_address())])
        relay.tell(["reserve", "fallback", [spare.address]])
        assert {relay.ask().body for _ in range(4)} == {b"foo"}
        assert relay.ask(request_packet("nope.com")).body == b"fallback"
        foo.close()
        assert relay.ask().body == b"fallback"


def test_iphash_goes_by_the_clients_address_and_not_by_nginx(relay: RelayProcess) -> None:
    with Worker(answers(b"one")) as one, Worker(answers(b"two")) as two:
        relay.serve([("foo.com", one.address), ("foo.com", two.address)], algorithm="iphash")
        # Ports are random: few clients could all go to one of them.
        packets = [request_packet("foo.com", REMOTE_ADDR=f"192.0.2.{n}") for n in range(60)]
        first = [relay.ask(packet).body for packet in packets]
        assert set(first) == {b"one", b"two"}
        assert [relay.ask(packet).body for packet in packets] == first


def test_lrc_avoids_the_busy_node(relay: RelayProcess) -> None:
    def slow(connection: Connection) -> None:
        connection.read_packet()
        connection.until_eof()

    with Worker(slow) as busy, Worker(answers(b"idle")) as idle:
        relay.serve([("foo.com", busy.address), ("foo.com", idle.address)], algorithm="lrc")
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            wait_for(lambda: busy.requests)
            assert {relay.ask().body for _ in range(5)} == {b"idle"}


#: A block that is none, and has the names of vars that are looked for in it.
TORN = b"HTTP_X_REQUEST_ID REMOTE_ADDR CONTENT_LENGTH\0\0 PATH_INFO FASTROUTE_VIA"


def test_vars_that_are_none_are_refused_and_not_looked_into_again(relay: RelayProcess) -> None:
    relay.serve()
    assert relay.ask(b"\0" + len(TORN).to_bytes(2, "little") + b"\0" + TORN).status == 400
    assert relay.process.poll() is None


NOISE = st.one_of(
    st.binary(max_size=200), st.binary(max_size=200).map(lambda b: b"\0" + len(b).to_bytes(2, "little") + b"\0" + b)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NOISE, min_size=1, max_size=3))
def test_random_bytes_hurt_nobody(relay: RelayProcess, pieces: list[bytes]) -> None:
    relay.serve()
    with relay.connect() as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            answer = read_answer(client)
        except ConnectionError:
            answer = None
    assert answer is None or answer.status in (0, 400, 404)
    assert relay.process.poll() is None


def test_a_worker_that_answers_before_it_reads_is_heard(relay: RelayProcess) -> None:
    def eager(connection: Connection) -> None:
        connection.send(response(b"early"))
        connection.read_packet()

    with Worker(eager) as worker:
        relay.serve([("foo.com", worker.address)])
        assert [relay.ask().body for _ in range(5)] == [b"early"] * 5
