"""A real relay: where requests go that no announced node takes."""

from __future__ import annotations

import socket
from pathlib import Path

from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.workers import Worker, answers, closes_early, refused_address


def test_a_mapped_key_is_served_fails_and_is_served_again(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, base=f"{tmp_path}/") as relay:
        relay.serve()
        assert relay.ask(request_packet("foo.com")).status == 404
        with Worker(answers(b"foo"), path=tmp_path / "foo.com"):
            assert relay.ask(request_packet("foo.com")).body == b"foo"
            assert relay.ask(request_packet("FOO.com:8080")).body == b"foo"
            relay.hears(lambda: relay.hits == {"(mapped)foo.com": 2})
            assert relay.ask(request_packet("../foo.com")).status == 404
        assert relay.ask(request_packet("foo.com")).status == 502
        assert relay.ask(request_packet("foo.com")).status == 503
        (tmp_path / "foo.com").unlink()
        with Worker(answers(b"again"), path=tmp_path / "foo.com"):
            relay.hears(lambda: relay.ask(request_packet("foo.com")).body == b"again")


def test_announced_nodes_come_before_a_mapper_and_a_mapper_before_the_fallback(tmp_path: Path) -> None:
    announced, mapped = Worker(answers(b"announced")), Worker(answers(b"mapped"), path=tmp_path / "foo.com")
    spare = Worker(answers(b"spare"))
    options = {"base": f"{tmp_path}/", "fallback": ["spare:1"], "fallback_on_no_key": False}
    with announced, mapped, spare, RelayProcess(tmp_path, **options) as relay:  # type: ignore[arg-type]
        relay.serve([("foo.com", announced.address)])
        relay.tell(["reserve", "fallback", [spare.address]])
        assert relay.ask(request_packet("foo.com")).body == b"announced"
        announced.close()
        assert relay.ask(request_packet("foo.com")).body == b"mapped"
        mapped.close()
        assert relay.ask(request_packet("foo.com")).body == b"spare"
        assert relay.ask(request_packet("no-such-socket")).body == b"spare"


def test_static_nodes_take_every_key_in_turn_and_one_that_fails_is_left_alone(tmp_path: Path) -> None:
    one, two = Worker(answers(b"one")), Worker(answers(b"two"))
    with one, two, RelayProcess(tmp_path, to=["one.example:80", "two.example:80"]) as relay:
        relay.serve()
        assert relay.ask(request_packet("any.com")).status == 503
        relay.tell(["reserve", "to", [one.address, refused_address(), two.address]])
        found = [relay.ask(request_packet(f"{number}.com")).body for number in range(8)]
        assert sorted(found) == [b"one"] * 4 + [b"two"] * 4
        assert sum("ejected" in line for line in relay.log.splitlines()) == 1
        relay.tell(["reserve", "to", [two.address]])
        assert {relay.ask(request_packet("any.com")).body for _ in range(3)} == {b"two"}


def test_a_known_key_without_node_is_served_by_the_static_nodes(tmp_path: Path) -> None:
    with Worker(answers(b"static")) as static, RelayProcess(tmp_path, to=["x:1"]) as relay:
        relay.serve(keys=["foo.com"])
        relay.tell(["reserve", "to", [static.address]])
        assert relay.ask(request_packet("foo.com")).body == b"static"


def test_a_request_that_may_be_repeated_goes_to_the_fallback_when_the_only_node_closes(tmp_path: Path) -> None:
    with (
        Worker(closes_early) as bad,
        Worker(answers(b"spare")) as spare,
        RelayProcess(tmp_path, fallback=["x:1"]) as relay,
    ):
        relay.serve([("foo.com", bad.address)])
        relay.tell(["reserve", "fallback", [spare.address]])
        assert relay.ask().body == b"spare"
        assert relay.ask(request_packet("foo.com", method="POST", body=b"x")).status == 502
        assert {relay.ask(request_packet("nope.com", method="POST")).body for _ in range(4)} == {b"spare"}


def test_a_new_snapshot_without_a_fallback_node_takes_it_away_only_when_it_says_so(tmp_path: Path) -> None:
    with Worker(answers(b"spare")) as spare, RelayProcess(tmp_path, fallback=["x:1"]) as relay:
        relay.serve()
        relay.tell(["reserve", "fallback", [spare.address]])
        relay.tell(["reset"], ["done"])
        assert relay.ask(request_packet("any.com")).body == b"spare"
        relay.tell(["reserve", "fallback", []])
        assert relay.ask(request_packet("any.com")).status == 503


def test_abstract_sockets_are_mapped_too(tmp_path: Path) -> None:
    name = f"\0{tmp_path.name}-foo.com"
    with socket.socket(socket.AF_UNIX) as listener, RelayProcess(tmp_path, pattern=f"@{tmp_path.name}-%s") as relay:
        listener.bind(name)
        listener.listen()
        relay.serve()
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            worker, _ = listener.accept()
            assert worker.recv(1000)
            worker.sendall(b"HTTP/1.1 200 OK\r\n\r\nabstract")
            worker.close()
            assert client.recv(1000).endswith(b"abstract")
