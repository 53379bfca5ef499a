"""Nodes outside Docker: what a file may say, what is wrong with it and where, and what a change of it does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry
from support.programs import free_port, wait_for
from support.workers import Connection, Worker

from fastroute.controller.desired import Desired, RouteDiff
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.static import read_static
from fastroute.controller.files.static_file import StaticFile
from fastroute.router.config.configuration import ConfigurationError

FULL = b"""
nodes:
  - key: [Shop.example.com., "*.example.com"]
    address: 10.0.0.7:8000
    weight: 2
    backup: 1
    algorithm: lrc
    modifier1: 5
    modifier2: 6
    protocol: http
    probe: /health
  - {key: foo.com/api, address: ["[fd00::1]:80", "legacy.internal:3031", /run/app.sock], weight: 0}
"""


def test_all_that_a_file_may_say() -> None:
    nodes = read_static(FULL, "nodes.yaml")
    assert [node.at for node in nodes] == ["nodes.yaml:3"] * 2 + ["nodes.yaml:12"] * 3
    assert [node.probe for node in nodes] == ["/health"] * 2 + ["none"] * 3
    assert nodes[0].entry == make_entry(
        "shop.example.com",
        "10.0.0.7:8000",
        weight=2,
        backup=1,
        algorithm="lrc",
        modifier1=5,
        modifier2=6,
        protocol="http",
        owner="static",
    )
    assert [(node.entry.key, node.entry.address, node.entry.drain) for node in nodes[1:]] == [
        ("*.example.com", "10.0.0.7:8000", False),
        ("foo.com/api", "[fd00::1]:80", True),
        ("foo.com/api", "legacy.internal:3031", True),
        ("foo.com/api", "/run/app.sock", True),
    ]


def test_no_nodes_are_said_not_left_out() -> None:
    assert read_static(b"nodes: []", "f") == ()
    with pytest.raises(ConfigurationError, match=r"f:1: nodes: expected, nothing found"):
        read_static(b"# nodes:\n", "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node: []", "f:1: 'node': nodes: expected; did you mean nodes?"),
        ("nodes: {}", "f:1: nodes: a list expected"),
        ("nodes:\n- key: a.com", "f:2: nodes: address is missing"),
        ("nodes:\n- address: a:1", "f:2: nodes: key is missing"),
        (
            "nodes:\n- key: a.com\n  address: a:1\n  wieght: 2",
            "f:4: 'wieght': unknown option; did you mean weight?",
        ),
        ("nodes:\n- key: a.com\n  address: a:1\n  weight: 65536", "f:4: weight: '65536': a whole number from 0"),
        ("nodes:\n- key: a b\n  address: a:1", "f:2: key: 'a b' is no key"),
        ("nodes:\n- key: a.com\n  address: :80", "f:3: address: ':80': an address to connect to expected"),
        ("nodes:\n- key: a.com\n  address: ./sock", "f:3: address: './sock': ip:port"),
        (
            "nodes:\n- key: a.com\n  address: a:1\n  algorithm: lcr",
            "f:4: algorithm: 'lcr': one of wrr, lrc, wlrc, iphash, random2 expected; did you mean lrc?",
        ),
        (
            "nodes:\n- key: a.com\n  address: a:1\n  probe: health",
            "f:4: probe: 'health' is none of tcp, none or a path",
        ),
        (
            "nodes:\n- {key: a.com, address: 'a:1'}\n- {key: A.com, address: 'a:1'}",
            "f:3: 'a.com' at a:1 is given twice, first at f:2",
        ),
        (
            "nodes:\n- {key: a.com, address: 'a:1', algorithm: lrc}\n- {key: a.com, address: 'a:2', algorithm: wrr}",
            "f:3: algorithm of 'a.com': wrr, but lrc at f:2; one key has one",
        ),
        ("nodes: [", "f:1: no valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_static(text.encode(), "f")
    assert str(raised.value).startswith(expected)


def test_an_algorithm_is_the_whole_keys() -> None:
    nodes = read_static(b"nodes:\n- {key: a.com, address: 'a:1'}\n- {key: a.com, address: 'a:2', algorithm: lrc}", "f")
    assert [node.entry.options.algorithm for node in nodes] == ["lrc", "lrc"]


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: b"nodes:\n- " + text.encode("utf-8", "replace"))
)
def test_whatever_the_bytes_are_it_is_nodes_or_one_line(data: bytes) -> None:
    said = "f:"
    try:
        read_static(data, "f")
    except ConfigurationError as error:
        said = str(error)
    assert said.startswith("f:")
    assert "\n" not in said


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.desired: list[Desired] = []

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        self.desired.append(desired)

    def status(self) -> dict[str, object]:
        return {}

    @property
    def nodes(self) -> list[tuple[str, str]]:
        return [(key, address) for key, address, _ in self.desired[-1]]


def static_file(file: Path, sink: Told) -> StaticFile:
    one = StaticFile(str(file), "static-me", sink, ControllerEvents())
    one.reread()
    return one


def test_a_good_change_applies_and_a_bad_one_leaves_the_last_good(tmp_path: Path) -> None:
    file, sink = tmp_path / "nodes.yaml", Told()
    file.write_text("nodes:\n- {key: a.com, address: 'a:1'}")
    static = static_file(file, sink)
    assert (sink.nodes, static.read.problem) == ([("a.com", "a:1")], "")
    for bad in ("nodes:\n- {key: a.com, adress: 'a:1'}", ""):
        file.write_text(bad)
        static.reread()
        assert (sink.nodes, len(sink.desired)) == ([("a.com", "a:1")], 1)
        assert static.read.problem.startswith(f"{file}:")
    file.unlink()
    static.reread()
    assert (sink.nodes, len(sink.desired)) == ([("a.com", "a:1")], 1)
    file.write_text("nodes:\n- {key: a.com, address: 'a:2'}")
    static.reread()
    assert (sink.nodes, static.read.problem) == ([("a.com", "a:2")], "")


def test_a_probed_node_is_known_first_and_routed_once_it_answers(tmp_path: Path) -> None:
    file, sink, port = tmp_path / "nodes.yaml", Told(), free_port()
    file.write_text(f"nodes:\n- {{key: a.com, address: '127.0.0.1:{port}', probe: tcp}}")
    static = static_file(file, sink)
    assert sink.nodes == [("a.com", "")]
    with socket.create_server(("127.0.0.1", port)):
        wait_for(lambda: sink.nodes == [("a.com", f"127.0.0.1:{port}")], "the node")
        static.reread()
        assert sink.nodes == [("a.com", f"127.0.0.1:{port}")]
    static.close()


def test_a_probe_is_for_a_host_of_the_key_and_400_is_no_proof(tmp_path: Path) -> None:
    hosts, answers = list[str](), [b"400 Bad Request", b"404 Not Found"]

    def strict(connection: Connection) -> None:
        head = connection.sock.makefile("rb").read1().decode()
        hosts.append(head.partition("Host: ")[2].partition("\r\n")[0])
        connection.send(b"HTTP/1.1 %b\r\n\r\n" % answers[min(len(hosts) - 1, 1)])

    file, sink = tmp_path / "nodes.yaml", Told()
    with Worker(strict) as worker:
        file.write_text(f"nodes:\n- {{key: '*.a.com/api', address: '{worker.address}', protocol: http, probe: /up}}")
        static = static_file(file, sink)
        wait_for(lambda: sink.nodes == [("*.a.com/api", worker.address)], "the node")
        assert hosts == ["probe.a.com"] * 2
    static.close()
