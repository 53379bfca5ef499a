"""The admin HTTP and the stats socket of a running router."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.programs import Router, free_port, wait_for
from support.uwsgi_client import send_datagram, subscription_packet


@pytest.fixture(scope="module")
def stats_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def router(stats_port: int) -> Iterator[Router]:
    with Router("--stats", f"127.0.0.1:{stats_port}") as running:
        send_datagram(running.port, subscription_packet("foo.com", "127.0.0.1:9"))
        running.wait_line("new node")
        yield running


def get(router: Router, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{router.admin_port}{path}")


def test_a_running_router_is_healthy_and_ready(router: Router) -> None:
    assert get(router, "/healthz").status_code == 200
    wait_for(lambda: get(router, "/readyz").status_code == 200, "ready")


def test_the_status_names_what_was_announced(router: Router) -> None:
    found = get(router, "/v1/status").json()
    assert found["schema"] == "fastroute.status/v1"
    assert found["controller"] is None
    assert found["router"].keys() >= {"version", "boot_id", "uptime", "cheap", "processes", "requests", "errors"}
    assert found["router"].keys() >= {"subscriptions", "sources", "relays"}
    assert [(key["key"], key["nodes"][0]["source"]) for key in found["keys"]] == [("foo.com", "worker")]


def test_one_key_is_found_as_a_request_would_find_it(router: Router) -> None:
    assert get(router, "/v1/keys/FOO.com.").json()["nodes"][0]["address"] == "127.0.0.1:9"
    assert get(router, "/v1/keys/bar.com").status_code == 404


def test_events_end_when_not_followed_and_go_on_after_the_last_one_seen(router: Router) -> None:
    lines = get(router, "/v1/events?follow=0").text.splitlines()
    assert [line for line in lines if line.startswith("event: ")][:2] == ["event: pool-new", "event: node-new"]
    url = f"http://127.0.0.1:{router.admin_port}/v1/events"
    with httpx.stream("GET", url, headers={"Last-Event-ID": "2"}, timeout=10) as stream:
        send_datagram(router.port, subscription_packet("baz.com", "127.0.0.1:9"))
        data = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert json.loads(data[6:])["key"] == "baz.com"


def test_nothing_can_be_changed_by_reading(router: Router) -> None:
    assert httpx.post(f"http://127.0.0.1:{router.admin_port}/v1/status").status_code == 405


@pytest.mark.parametrize("path", ["/v1/status", "/v1/keys/foo.com", "/v1/events?follow=0"])
def test_a_page_whose_name_was_pointed_here_reads_nothing(router: Router, path: str) -> None:
    url = f"http://127.0.0.1:{router.admin_port}"
    assert httpx.get(url + path, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(url + path, headers={"Host": "localhost"}).status_code == 200
    assert httpx.get(f"{url}/metrics", headers={"Host": "router:3033"}).status_code == 200


def test_the_stats_socket_is_read_to_its_end(router: Router, stats_port: int) -> None:
    text = b""
    with socket.create_connection(("127.0.0.1", stats_port)) as stats:
        while data := stats.recv(65_536):
            text += data
    assert "127.0.0.1:9" in [node["name"] for pool in json.loads(text)["subscriptions"] for node in pool["nodes"]]


def test_admin_answers_on_a_unix_path(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with Router("--admin", str(path)) as router:
        router.wait_for(path.exists, "the admin socket")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://router/healthz").text == "ok\n"


@pytest.mark.parametrize("verb", ["pause", "maintenance", "resume"])
def test_keys_are_held_by_who_may_change_something_and_errors_say_what_was_expected(router: Router, verb: str) -> None:
    url = f"http://127.0.0.1:{router.admin_port}/v1/{verb}"
    body = {"key": "foo.com"}
    assert httpx.post(url, json=body, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.post(url, json=body, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(url, content=json.dumps(body), headers={"Content-Type": "text/plain"}).status_code == 403
    assert httpx.get(url).status_code == 405
    answer = httpx.post(url, json={"key": "no key"})
    assert (answer.status_code, "a host name expected" in answer.json()["error"]) == (400, True)
    answer = httpx.post(url, json={"kee": "foo.com"})
    assert (answer.status_code, 'like {"key": "..."' in answer.json()["error"]) == (400, True)
    assert get(router, "/v1/keys/foo.com").json()["state"] == "serving"


def test_resume_of_a_key_that_serves_changes_nothing_and_of_one_that_is_not_there_is_404(router: Router) -> None:
    url = f"http://127.0.0.1:{router.admin_port}/v1/resume"
    assert httpx.post(url, json={"key": "foo.com"}).json()["state"] == "serving"
    assert httpx.post(url, json={"key": "nobody.example"}).status_code == 404
    assert get(router, "/v1/keys/nobody.example").status_code == 404
