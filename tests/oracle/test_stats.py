"""The stats socket: the same JSON as the original's, key by key, so that what reads one reads the other."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from support.programs import Program, Router, UwsgiFastRouter, UwsgiWorker, free_port, listens, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet

pytestmark = pytest.mark.timeout(120)

#: uWSGI 2.1 has these; Debian's is 2.0.
NEWER = {"algo", "backup", "proto"}


def stats(port: int) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        return dict(json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b""))))


def shape(value: Any) -> Any:
    """Names in their order, types for values, the first of each list."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items() if name not in NEWER]
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_names_order_types_and_numbers_are_the_originals() -> None:
    port = free_port()
    with UwsgiWorker("one") as worker, UwsgiFastRouter() as original, Router("--stats", f"127.0.0.1:{port}") as ours:
        seen = []
        for router, stats_port in ((original, original.stats_port), (ours, port)):

            def node(at: int = stats_port) -> dict[str, Any]:
                pools = stats(at)["subscriptions"]
                return dict(pools[0]["nodes"][0]) if pools else {}

            packet = subscription_packet("foo.com", worker.address, cores=4, load=7, weight=3, modifier2=0)
            send_datagram(router.port, packet)
            wait_for(node, "the node joins")
            for _ in range(3):
                assert ask(router.port, "foo.com").status == 200
            wait_for(lambda look=node: (look()["requests"], look()["ref"]) == (3, 0), "three requests are counted")
            assert node()["last_requests"] == 3
            send_datagram(router.port, packet)
            wait_for(lambda look=node: look()["last_requests"] == 0, "the announcement is counted from")
            ask(router.port, "foo.com")
            wait_for(lambda look=node: (look()["last_requests"], look()["ref"]) == (1, 0), "one request since")
            found = stats(stats_port)
            assert found["fastrouter"] == [f"127.0.0.1:{router.port}"] * 2
            seen.append(found)
    assert shape(seen[1]) == shape(seen[0])
    same = ("name", "modifier1", "modifier2", "pid", "uid", "gid", "requests", "last_requests", "tx", "rx", "cores",
            "load", "weight", "ref", "failcnt", "death_mark")  # fmt: skip
    (theirs,), (ours_node,) = (found["subscriptions"][0]["nodes"] for found in seen)
    assert {name: ours_node[name] for name in same} == {name: theirs[name] for name in same}
    pools = [{name: found["subscriptions"][0][name] for name in ("key", "hash", "hits")} for found in seen]
    assert pools[0] == pools[1]


def test_static_nodes_are_shown_as_the_original_shows_them() -> None:
    with UwsgiWorker("one") as worker:
        seen = []
        for program in ("uwsgi", "fastroute-router"):
            port, at = free_port(), free_port()
            ini = f"[uwsgi]\nmaster = true\nplugin = fastrouter\nfastrouter = 127.0.0.1:{port}\n" \
                  f"fastrouter-to = {worker.address}\nfastrouter-stats = 127.0.0.1:{at}\n"  # fmt: skip
            seen.append(static_stats(program, ini, port, at))
    assert seen[0] == seen[1]
    assert seen[0]["static_nodes"] == [{"name": worker.address, "hits": 2, "grace": 0}]


def static_stats(program: str, ini: str, port: int, at: int) -> dict[str, Any]:
    file = Path(mkdtemp(prefix="fastroute-test-")) / "router.ini"
    file.write_text(ini)
    where = free_port()
    ours = str(Path(sys.executable).with_name("fastroute-router"))
    command = ["uwsgi", "--ini", str(file)] if program == "uwsgi" else [ours, str(file)]
    with Program(*command, env={"FASTROUTE_ADMIN": f"127.0.0.1:{where}"}) as running:
        running.wait_for(lambda: listens(port) and listens(at), "it listens")
        assert ask(port, "any.com").status == 200
        ask(port, "other.com")
        wait_for(lambda: stats(at)["static_nodes"][0]["hits"] >= 2, "both are counted")
        found = stats(at)
    assert found["fastrouter"] == [f"127.0.0.1:{port}"]
    return {"static_nodes": found["static_nodes"], "cheap": found["cheap"], "names": list(found)}
