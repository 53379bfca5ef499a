"""fastroute-page with real routers: who may read it, that nobody can change anything, that it finds back by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_docker import FakeDocker, fake_engine
from support.page import PageProgram
from support.programs import Controller, Router, listens, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Worker, answers

#: Bytes of all files that a browser may have to fetch.
MAX_BYTES = 150_000


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_engine(tmp_path) as engine:
        yield engine


@contextmanager
def served(*options: str) -> Iterator[tuple[Router, PageProgram]]:
    """A router with one node of foo.com, and a page that shows it."""
    with Router() as router, PageProgram([router], [], *options) as page:
        worker = Worker(answers())
        try:
            send_datagram(router.port, subscription_packet("foo.com", worker.address))
            yield router, page
        finally:
            worker.close()


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[Router, PageProgram]]:
    """One pair for all tests that leave it as it was."""
    with served("--host", "status.example.com") as pair:
        yield pair


def first(page: PageProgram, view: str = "overview", **query: str) -> dict[str, Any]:
    with page.stream(view, **query) as pieces:
        return next(pieces)


def test_only_browsers_that_ask_by_a_name_of_ours_are_answered(shown: tuple[Router, PageProgram]) -> None:
    _, page = shown
    for host in ("localhost", f"127.0.0.1:{page.port}", "[::1]:80", "status.example.com", "STATUS.example.com:80"):
        assert page.get("/", Host=host).status_code == 200, host
    for path in ("/", "/web/main.js", "/api/stream", "/api/history", "/api/container/x", "/nowhere"):
        answer = page.get(path, Host="rebound.example")
        assert (answer.status_code, "--host" in answer.text) == (403, True), path


def test_browsers_are_told_to_run_nothing_of_anybody_else(shown: tuple[Router, PageProgram]) -> None:
    _, page = shown
    for path in ("/", "/web/main.js", "/api/history", "/nowhere", "/web/..%2foptions.py"):
        headers = page.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';"), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert page.get("/web/..%2foptions.py").status_code == 404
    assert page.get("/web/options.py").status_code == 404


def test_nothing_can_be_changed(shown: tuple[Router, PageProgram]) -> None:
    router, page = shown
    wait_for(lambda: first(page)["values"]["totals"]["keys"] == 1, "the page knows the key")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/", "/api/stream", "/v1/drain", "/v1/pause", "/api/container/x"):
            answer = httpx.request(method, page.url + path, json={"target": "foo.com", "key": "foo.com"}, timeout=5)
            assert answer.status_code in (404, 405), (method, path)
    assert ask(router.port, "foo.com").status == 200
    for id in ("x", "..%2f..%2fv1%2fstatus", "%2e%2e", "x%3ffollow=0"):
        assert page.get(f"/api/container/{id}").status_code == 404, "only what a controller listed is asked for"


def test_all_files_together_are_small_and_are_fetched_once(shown: tuple[Router, PageProgram]) -> None:
    _, page = shown
    folder = Path(__file__).resolve().parents[2] / "page/web"
    files = [file.name for file in folder.iterdir()]
    answers = {name: page.get(f"/web/{name}") for name in files}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert sum(len(answer.content) for answer in answers.values()) < MAX_BYTES
    etag = answers["main.js"].headers["etag"]
    assert page.get("/web/main.js", **{"If-None-Match": etag}).status_code == 304


def test_a_view_says_first_everything_and_then_what_changes(shown: tuple[Router, PageProgram]) -> None:
    router, page = shown
    wait_for(lambda: first(page)["values"]["totals"]["keys"] == 1, "the page knows the key")
    with page.stream() as pieces:
        assert next(pieces)["reset"] is True
        for _ in range(20):
            ask(router.port, "foo.com")
        for piece in pieces:
            assert piece["reset"] is False
            row = piece.get("table", {}).get("set", {}).get("foo.com")
            if row and row["rate"]:
                break
    wait_for(lambda: first(page, "key", key="foo.com")["values"]["key"]["requests"] >= 20, "all are counted")
    found = first(page, "key", key="foo.com")
    assert [node["state"] for node in found["table"]["set"].values()] == ["ready"]
    assert [event["kind"] for event in found["events"]] == ["pool-new", "node-new"]
    assert first(page, "key", key="nobody.com")["values"]["key"] is None
    path = "/api/history?key=foo.com&series=rate"
    history = wait_for(lambda: page.get(path).json()["keys"]["foo.com"], "a sample")
    assert len(history["rate"]) == 120


def test_a_router_that_is_silent_is_said_and_one_that_is_back_is_shown_at_once() -> None:
    with served() as (router, page):
        wait_for(lambda: first(page)["values"]["verdict"]["level"] == "ok", "it serves")
        with page.stream() as pieces:
            router.stop()
            for piece in pieces:
                verdict = piece.get("values", {}).get("verdict")
                if verdict and verdict["level"] == "unknown":
                    assert "No router has answered" in verdict["text"]
                    break
            with Router.at(router.port, router.admin_port) as back:
                back.wait_for(lambda: listens(back.admin_port), "it is back")
                send_datagram(back.port, subscription_packet("bar.com", "127.0.0.1:9"))
                for piece in pieces:
                    if "bar.com" in piece.get("table", {}).get("set", {}):
                        break
                    send_datagram(back.port, subscription_packet("bar.com", "127.0.0.1:9"))
        assert "does not answer" in page.output()


def test_containers_with_their_reasons_and_all_that_is_known_of_one(docker: FakeDocker) -> None:
    with Router() as router, Controller(docker.url, router) as controller, PageProgram([router], [controller]) as page:
        docker.run("good", {"fastroute.key": "foo.com", "fastroute.probe": "none"})
        docker.run("<b>bad</b>", {"fastroute.key": "foo.com", "fastroute.wieght": "3"})

        def rows() -> dict[str, dict[str, Any]]:
            table = first(page, "containers").get("table", {}).get("set", {})
            return {row["name"]: row for row in table.values()}

        wait_for(lambda: len(rows()) == 2 and rows()["good"]["rate"] == 0, "both containers, one of them routed")
        by_name = rows()
        assert "nobody asks for foo.com" in by_name["good"]["why"]
        assert "did you mean fastroute.weight?" in by_name["<b>bad</b>"]["reason"]
        details = page.get(f"/api/container/{by_name['good']['id']}").json()
        assert (details["name"], details["schema"]) == ("good", "fastroute.container/v1")
        controller.stop()
        path = f"/api/container/{by_name['good']['id']}"
        wait_for(lambda: page.get(path).status_code == 502, "its controller is gone")


def test_a_node_that_joins_before_its_container_is_known_is_told_again_by_its_name(docker: FakeDocker) -> None:
    with Router() as router, Controller(docker.url, router) as controller, PageProgram([router], [controller]) as page:
        worker = Worker(answers())
        port = int(worker.address.rpartition(":")[2])
        try:
            with page.stream() as pieces:
                next(pieces)
                # The router hears of it at once, the controller tells its container a while later.
                send_datagram(router.port, subscription_packet("foo.com", worker.address))
                events = (event for piece in pieces for event in piece.get("events", ()))
                joined = next(event for event in events if event["kind"] == "node-new")
                assert (joined["node"], joined.get("container")) == (worker.address, None)
                labels = {"fastroute.key": "foo.com", "fastroute.probe": "none"}
                docker.run("foo-1", labels, address="127.0.0.1", ports=[port])
                again = next(event for event in events if event["number"] == joined["number"])
                assert again["container"] == "foo-1"
        finally:
            worker.close()


def test_urls_that_are_mixed_up_are_said() -> None:
    with Router() as router, PageProgram([], [], "--controller-url", f"http://127.0.0.1:{router.admin_port}") as page:
        said = "it is a router: --router-url expected for it"
        wait_for(lambda: said in first(page)["values"]["problems"]["rows"][0]["text"], "it says so")


def test_a_page_on_a_unix_socket_that_reads_at_unix_sockets(tmp_path: Path) -> None:
    read = tmp_path / "read.sock"
    listen = tmp_path / "page.sock"
    with Router("--admin-read", str(read)) as router:
        options = ("--listen", str(listen), "--router-url", f"http+unix://{read}")
        with PageProgram.at(listen, *options, "--controller-url", "none"):
            transport = httpx.HTTPTransport(uds=str(listen))
            with httpx.Client(transport=transport, base_url="http://anything") as client:
                with client.stream("GET", "/api/stream") as answer:
                    line = next(line for line in answer.iter_lines() if '"answers": true' in line)
                assert f"http+unix://{read}" in line
            assert router.process.poll() is None


def test_many_browsers_at_once_have_a_limit(shown: tuple[Router, PageProgram]) -> None:
    _, page = shown
    streams = []
    try:
        for _ in range(64):
            streams.append(socket.create_connection(("127.0.0.1", page.port), timeout=5))
            streams[-1].sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert streams[-1].recv(12) == b"HTTP/1.1 200"
        assert wait_for(lambda: page.get("/api/stream").status_code == 503, "one too many")
    finally:
        for stream in streams:
            stream.close()
    wait_for(lambda: first(page), "those that left make room")
