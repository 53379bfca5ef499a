"""``traceparent`` passes through, and sampled requests become spans at a collector, which costs nothing when away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.programs import Router, free_port, wait_for
from support.uwsgi_client import ask
from support.workers import Worker, answers, http

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Collector:
    """What takes OTLP, and answers ``status``."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.paths.add(self.path)
                if collector.status == 200:
                    for resource in body["resourceSpans"]:
                        for scope in resource["scopeSpans"]:
                            collector.spans += scope["spans"]
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def counted(router: Router, result: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{router.admin_port}/metrics").text
    name = f'fastroute_spans_total{{result="{result}"}} '
    return float(next(line for line in text.splitlines() if line.startswith(name)).rpartition(" ")[2])


def test_traceparent_goes_through_both_fronts_to_both_kinds_of_workers(tmp_path: Path, collector: Collector) -> None:
    front = tmp_path / "http.sock"
    with Worker(answers()) as uwsgi, Worker(http(ANSWER)) as web, Router(
        "--node", f"uwsgi.com={uwsgi.address}", "--node", f"http.com={web.address},protocol=http",
        "--listen-http", str(front), "--otlp", collector.url, "--trace-sample", "0",
    ) as router:  # fmt: skip
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(front))) as client:
            for host in ("uwsgi.com", "http.com"):
                client.get("http://x/a?b=1", headers={"Host": host, "traceparent": TRACEPARENT, "tracestate": "a=1"})
                client.get("http://x/unsampled", headers={"Host": host, "traceparent": f"{TRACEPARENT[:-1]}0"})
                ask(router.port, host, path="/u", HTTP_TRACEPARENT=TRACEPARENT)
        for request in (uwsgi.requests[0], uwsgi.requests[2]):
            assert request.vars[b"HTTP_TRACEPARENT"] == TRACEPARENT.encode()
        assert uwsgi.requests[0].vars[b"HTTP_TRACESTATE"] == b"a=1"
        heads = [request.header.lower() for request in web.requests]
        assert all(b"\r\ntraceparent: 00-" in head for head in heads)
        wait_for(lambda: len(collector.spans) >= 4, "the sampled ones are exported")
        wait_for(lambda: counted(router, "exported") == 4, "and counted")
    assert collector.paths == {"/v1/traces"}
    assert {span["traceId"] for span in collector.spans} == {TRACE}
    assert {span["parentSpanId"] for span in collector.spans} == {PARENT}
    assert len({span["spanId"] for span in collector.spans}) == 4
    shown = [attributes(span) for span in collector.spans]
    assert {(each["server.address"], each["url.path"]) for each in shown} == {
        ("uwsgi.com", "/a"), ("uwsgi.com", "/u"), ("http.com", "/a"), ("http.com", "/u"),
    }  # fmt: skip
    assert {each["http.response.status_code"] for each in shown} == {"200"}


def test_a_collector_that_is_away_costs_no_request_and_gets_the_spans_when_it_is_back() -> None:
    port = free_port()
    options = ("--otlp", f"http://127.0.0.1:{port}/mine", "--trace-sample", "1", "--access-log", "-")
    with Worker(answers()) as worker, Router(*options, "--node", f"foo.com={worker.address}") as router:
        assert [ask(router.port, host).status for host in ("foo.com", "foo.com", "nope.com")] == [200, 200, 404]
        router.wait_line("takes no spans")
        assert ask(router.port, "foo.com").status == 200
        collector = Collector(port)
        try:
            wait_for(lambda: len(collector.spans) == 4, "all are exported, our own answers too", seconds=30)
            router.wait_line("exported again")
            errors = [attributes(span).get("error.type") for span in collector.spans]
            assert sorted(map(str, errors)) == ["None", "None", "None", "no-key"]
            assert len({span["traceId"] for span in collector.spans}) == 4
            assert collector.paths == {"/mine"}
            collector.status = 400
            ask(router.port, "foo.com")
            wait_for(lambda: counted(router, "refused") == 1, "what is refused is not sent again")
        finally:
            collector.close()
        assert router.output().count(" takes no spans") == 2, "once for each reason"
        assert router.output().count("key=foo.com") == 4
