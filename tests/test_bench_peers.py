"""The parts of make bench-peers that measure nothing: sums, tables, charts, the client that never retries, the link
that can be cut.  The programs themselves are run by the script alone."""

from __future__ import annotations

import http.server
import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.programs import free_port

from benchmarks.pages import DOCS, between_marks
from benchmarks.peers.cost import base_of
from benchmarks.peers.docker_link import DockerLink
from benchmarks.peers.docker_subjects import all_labels
from benchmarks.peers.drawing import draw_cost, draw_deploys, draw_keys
from benchmarks.peers.keys import KeysResult, keys_head, keys_rows
from benchmarks.peers.outcomes import (
    DETAIL_HEAD,
    DeploysResult,
    Figures,
    Outcome,
    detail_rows,
    docker_seconds,
    figures_of,
    middle_and_worst,
    start_rows,
    summary,
)
from benchmarks.peers.strict_client import StrictClient, Target, judged
from benchmarks.scenarios import Result, Round
from fastroute.controller.decide.labels import parse_labels

SVG = "{http://www.w3.org/2000/svg}"
outcomes = st.builds(
    Outcome,
    st.floats(0, 100),
    st.floats(0, 20),
    st.sampled_from(["200", "502", "time-out", "wrong key"]),
    st.sampled_from(["GET", "POST"]),
)


def figures(failed: int = 0, posts: int = 0, outage: float = 0.0) -> Figures:
    return Figures(100, failed, posts, 1, outage, 0.01, 0.25, {"502": failed} if failed else {})


@given(st.lists(outcomes, max_size=60))
@settings(max_examples=60, deadline=None)
def test_figures_count_every_request_once(seen: list[Outcome]) -> None:
    found = figures_of(seen)
    assert found.requests == len(seen)
    assert found.failed == sum(found.kinds.values()) == sum(each.status != "200" for each in seen)
    assert found.posts <= found.failed
    assert found.slow <= found.requests - found.failed
    assert 0 <= found.outage <= 100
    assert found.p50 <= found.p99 + 1e-9


def test_figures_of_an_outage() -> None:
    seen = [Outcome(at / 10, 0.01, "200") for at in range(50)]
    seen += [Outcome(2.0, 0.01, "502", "POST"), Outcome(3.5, 10.0, "time-out"), Outcome(4.0, 1.5, "200")]
    found = figures_of(seen)
    assert (found.failed, found.posts, found.slow, found.outage) == (2, 1, 1, 1.5)
    assert found.kinds == {"502": 1, "time-out": 1}
    assert found.p50 == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("answer", "judgement"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nweb-1 k\n", ("200", "web-1")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nweb-1 x\n", ("wrong key", "web-1")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nweb-1 k\n", ("cut short", "")),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", ("503", "")),
        (b"HTTP/1.1 200 OK\r\n", ("cut short", "")),
        (b"", ("closed", "")),
    ],
)
def test_only_a_whole_answer_of_the_right_key_is_good(answer: bytes, judgement: tuple[str, str]) -> None:
    assert judged(answer, "k") == judgement


@pytest.mark.parametrize("fraction", ["", ".5", ".500000001"])
def test_docker_writes_times_in_utc(fraction: str) -> None:
    assert docker_seconds(f"1970-01-02T00:00:01{fraction}Z") == 86401 + (0.5 if fraction else 0)


def test_tables_of_deploys() -> None:
    found = {"stop": {"a": [figures(), figures(4, 1, 2.0), figures(1)], "b": [figures()]}, "kill": {"a": [figures(2)]}}
    assert summary(found, ["a", "b"]) == (
        ["failed requests", "a", "b"],
        [["stop", "1 (4)", "0"], ["kill", "2", ""]],
    )
    rows = detail_rows(found)
    assert rows[0] == ["stop", "a", "1 (4)", "0 (1)", "1", "0.0 (2.0)", "10", "250", "300", "5 x 502"]
    assert all(len(row) == len(DETAIL_HEAD) for row in rows)
    assert middle_and_worst([1.0, 1.04, 1.02], 1) == "1.0"
    assert start_rows({"a": [0.1, 0.3, 0.2], "nobody": []}) == [["a", "200", "300", "3"]]


def test_table_of_keys_tells_what_was_not_served_from_what_is_not_asked() -> None:
    found = KeysResult({"a": {10: 1.2}, "file": {10: 3.0, 1000: 30.6}}, {"a": 12.34}, {"a": 0.0})
    assert keys_rows(found, [10, 1000]) == [["a", "1", "-", "0.0%", "12.3%"], ["file", "3", "31", "", ""]]
    assert len(keys_head([10, 1000])) == 5


def test_a_chain_is_compared_with_the_first_of_its_workers() -> None:
    names = ["ours, http workers", "ours, uwsgi workers", "alone, uwsgi workers", "Traefik, tuned"]
    assert [base_of(name, names) for name in names] == [names[0], names[1], names[1], names[0]]


def test_charts_are_svg_with_every_subject() -> None:
    deploys = DeploysResult(
        {"a<b": "", "b": "", "fixed": ""}, ["fixed"], {"stop": {"a<b": [figures(4, 1)], "b": [figures()]}}
    )
    rounds = {"a": [Round(1, 1, 2e-6, 3e-6, 0)], "b": [Round(1, 1, 1e-6, 1e-6, 0)]}
    charts = [
        (draw_deploys(deploys), {"a<b", "b"}, "4"),
        (draw_cost([Result("small", "request", rounds)]), {"a", "b"}, "5"),
        (draw_keys(KeysResult({"a": {10: 5.0}, "b": {}})), {"a"}, "5"),
    ]
    for text, names, longest in charts:
        shown = {element.text for element in ET.fromstring(text).iter(f"{SVG}text")}
        assert names | {longest} <= shown
        assert "fixed" not in shown


def test_figures_go_between_their_marks() -> None:
    assert between_marks("a\n<!-- x -->\nold\n<!-- end of x -->\nb", "x", "new") == (
        "a\n<!-- x -->\nnew\n<!-- end of x -->\nb"
    )
    with pytest.raises(ValueError, match="no marks <!-- y --> and <!-- end of y -->"):
        between_marks("<!-- end of y --><!-- y -->", "y", "new")
    page = (DOCS / "benchmarks.md").read_text()
    for group in (
        "peers deploys",
        "peers fixed",
        "peers starts",
        "peers settings",
        "peers cost",
        "peers keys",
        "fronts",
    ):
        between_marks(page, group, "")
    between_marks((DOCS.parent / "docs/benchmarks/deploys.md").read_text(), "peers all", "")


def test_our_labels_of_the_benchmark_are_right() -> None:
    labels = {name: value for name, value in all_labels("three").items() if name.startswith("fastroute.")}
    parsed = parse_labels(labels, (8000,), "fastroute")
    assert not parsed.problems
    assert {key for route in parsed.routes for key in route.keys} == {"three.uwsgi.test", "three.http.test"}


class _Worker(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"web-1 k\n"
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if self.headers["Host"] == "bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def worker() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Worker)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_client_never_tries_again_and_says_what_failed(worker: int) -> None:
    asked = threading.Event()
    targets = {
        "good": Target("good", worker, "k"),
        "wrong": Target("wrong", worker, "other"),
        "bad": Target("bad", worker, "k"),
        "nobody": Target("nobody", free_port(), "k"),
    }
    with StrictClient(targets, 40) as client:
        asked.wait(0.5)
    found = {name: figures_of(seen) for name, seen in client.outcomes.items()}
    assert found["good"].failed == 0 < found["good"].requests
    assert {outcome.method for outcome in client.outcomes["good"]} == {"GET", "POST"}
    assert {name: set(each.kinds) for name, each in found.items()} == {
        "good": set(), "wrong": {"wrong key"}, "bad": {"500"}, "nobody": {"ConnectionRefusedError"},
    }  # fmt: skip


def test_the_link_is_cut_and_mended(tmp_path: Path) -> None:
    engine = socket.socket(socket.AF_UNIX)
    engine.bind(str(tmp_path / "engine"))
    engine.listen()
    with engine, DockerLink(tmp_path / "link", str(tmp_path / "engine")) as link:
        with _client(tmp_path) as client:
            behind, _ = engine.accept()
            with behind:
                client.sendall(b"ask")
                assert behind.recv(10) == b"ask"
                behind.sendall(b"answer")
                assert client.recv(10) == b"answer"
                link.cut()
                assert client.recv(10) == b""
                assert behind.recv(10) == b""
        with pytest.raises(OSError, match="No such file"):
            _client(tmp_path)
        link.mend()
        _client(tmp_path).close()


def _client(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    try:
        client.connect(str(folder / "link"))
    except OSError:
        client.close()
        raise
    return client
