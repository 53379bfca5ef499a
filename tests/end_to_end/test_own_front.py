"""The router as a node of itself, by every way that a node comes: no request goes in circles, and people are told."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path

import pytest
from support.programs import Router, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet


def get(router: Router, path: str) -> str:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", router.admin_port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def refused(router: Router) -> list[str]:
    return sorted(one["address"] for one in json.loads(get(router, "/v1/status"))["router"]["refused_nodes"])


def requests(router: Router) -> int:
    return int(json.loads(get(router, "/v1/status"))["router"]["requests"])


def test_a_name_that_comes_to_the_router_itself_gets_no_requests_and_is_shown() -> None:
    with Router("--timeout", "3s") as router:
        for number, address in enumerate((f"LocalHost:{router.port}", f"LocalHost:{router.admin_port}")):
            send_datagram(router.port, subscription_packet(f"own{number}.com", address))
            wait_for(lambda n=number: len(refused(router)) > n, "the name resolves, and the node is refused")
            assert ask(router.port, f"own{number}.com").status == 503
        assert refused(router) == sorted(f"127.0.0.1:{port}" for port in (router.port, router.admin_port))
        assert f"own0.com => 127.0.0.1:{router.port} is this router itself" in router.output()
        metrics = get(router, "/metrics")
        assert "fastroute_nodes_own 2.0" in metrics
        assert "fastroute_nodes_refused_total 2.0" in metrics
        assert f'fastroute_node_up{{key="own0.com",node="127.0.0.1:{router.port}"}} 0.0' in metrics
        assert "event: node-refused" in get(router, "/v1/events?follow=0")
        node = json.loads(get(router, "/v1/keys/own0.com"))["nodes"][0]
        assert node["state"] == "ejected"
        wait_for(lambda: requests(router) == 2, "each request was taken once")


@pytest.mark.parametrize("option", ["--fallback", "--node"])
@pytest.mark.parametrize("written", ["[::ffff:127.0.0.1]:{port}", "localhost:{port}", "{directory}/way/front.sock"])
def test_what_is_configured_is_no_exception(tmp_path: Path, option: str, written: str) -> None:
    (tmp_path / "way").symlink_to(tmp_path)
    with Router("--timeout", "3s") as probe:
        port = probe.port
    address = written.format(port=port, directory=tmp_path)
    value = address if option == "--fallback" else f"any.com={address}"
    listens = ("--listen", f"127.0.0.1:{port}", "--listen", f"{tmp_path}/front.sock")
    with Router(*listens, option, value, "--timeout", "3s") as router:
        wait_for(lambda: refused(router), "the node is refused")
        wait_for(lambda: ask(port, "any.com").status == 503, "the request is answered")
        assert "is this router itself" in router.output()


def test_a_key_maps_to_no_socket_of_the_router(tmp_path: Path) -> None:
    ini = tmp_path / "router.ini"
    with Router("--timeout", "3s") as probe:
        port = probe.port
    ini.write_text(f"""[uwsgi]
fastrouter = 127.0.0.1:{port}
fastrouter = {tmp_path}/front.sock
fastrouter-use-base = {tmp_path}/
fastrouter-stats = {tmp_path}/stats.sock
""")
    with Router.from_file(ini, port, probe.admin_port, "--admin", f"127.0.0.1:{probe.admin_port}") as router:
        for name in ("front.sock", "stats.sock"):
            wait_for(lambda: (tmp_path / "stats.sock").is_socket(), "the sockets are there")
            assert ask(port, name).status == 404
            assert f"{tmp_path}/{name} is this router itself" in router.output()
