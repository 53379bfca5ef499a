"""What an operator sees of a router with two relays: one access log, its rotation, metrics, ejections."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.programs import Router, UwsgiWorker, free_port, wait_for
from support.survival import children, replaced
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Worker, answers

pytestmark = pytest.mark.timeout(120)


def metrics(router: Router) -> dict[str, float]:
    """Every sample by its name and labels, as exposed."""
    text = httpx.get(f"http://127.0.0.1:{router.admin_port}/metrics").text
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def ask_often(router: Router, host: str, count: int) -> None:
    threads = [threading.Thread(target=lambda: [ask(router.port, host) for _ in range(count)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_relays_write_one_log_that_is_rotated_without_a_lost_line(tmp_path: Path) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    options = ("--processes", "2", "--access-log", str(log), "--log-format", "json", "--request-id")
    with UwsgiWorker("one") as worker, Router(*options) as router:
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "it serves")
        ask_often(router, "foo.com", 25)
        log.rename(old)
        router.send_signal(signal.SIGUSR1)
        wait_for(log.exists, "a new file")
        ask_often(router, "foo.com", 25)
        router.stop()
        lines = [json.loads(line) for file in (old, log) for line in file.read_text().splitlines()]
    served = [line for line in lines if line["status"] == 200]
    assert len(served) == 201
    assert len({line["request_id"] for line in lines}) == len(lines)
    assert {(line["key"], line["node"]) for line in served} == {("foo.com", worker.address)}


def test_standard_output_takes_the_log_too(tmp_path: Path) -> None:
    with Router("--access-log", "-") as router:
        ask(router.port, "nope.com")
        router.wait_line("key=nope.com node=- connect=- answer=- total=")


def test_metrics_of_both_relays_and_an_ejection_that_is_said(tmp_path: Path) -> None:
    with UwsgiWorker("one") as worker, Router("--processes", "2") as router:
        dead = f"127.0.0.1:{free_port()}"
        for address in (worker.address, dead):
            send_datagram(router.port, subscription_packet("foo.com", address))
        router.wait_line(f"foo.com => new node: {dead}")
        ask_often(router, "foo.com", 10)
        router.wait_line(f"foo.com => {dead} ejected for ")
        count = 'fastroute_key_answer_seconds_count{key="foo.com"}'
        wait_for(lambda: metrics(router).get(count) == 40, "all are timed")
        found = metrics(router)
        assert found['fastroute_key_connect_seconds_bucket{key="foo.com",le="+Inf"}'] == 40
        assert found[f'fastroute_node_requests_total{{key="foo.com",node="{worker.address}"}}'] == 40
        assert found[f'fastroute_node_up{{key="foo.com",node="{dead}"}}'] == 0
        assert found['fastroute_subscriptions_total{reason="",result="applied"}'] == 2
        assert "(relay " in router.output()
        assert router.output().count(f"{dead} ejected for ") <= 2
        send_datagram(router.port, subscription_packet("dead.com", dead))
        failures = f'fastroute_node_failures_total{{key="dead.com",node="{dead}"}}'
        wait_for(lambda: ask(router.port, "dead.com") and metrics(router).get(failures, 0) >= 5, "it fails on")
        events = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/events?follow=0").text
        ejected = [line for line in events.splitlines() if '"kind": "node-ejected", "key": "dead.com"' in line]
        assert 1 <= len(ejected) <= 2, ejected
        send_datagram(router.port, subscription_packet("dead.com", dead, leave=True))
        send_datagram(router.port, subscription_packet("foo.com", dead, leave=True))
        wait_for(lambda: not [name for name in metrics(router) if dead in name], "its series vanish")


def test_what_nobody_announced_has_metrics_too_and_no_client_makes_more_of_them(tmp_path: Path) -> None:
    ini = tmp_path / "router.ini"
    spare = UwsgiWorker("spare")
    with spare, Worker(answers(b"mapped"), path=tmp_path / "foo.com"), Worker(answers(b"bar")) as bar:
        ini.write_text(f"[uwsgi]\nfastrouter-use-base = {tmp_path}/\nfastrouter-fallback = {spare.address}\n")
        with Router(str(ini)) as router:
            send_datagram(router.port, subscription_packet("foo.com", bar.address))
            router.wait_line("new node")
            bar.close()
            for host in ("foo.com", "foo.com", "FOO.com:81", "a.com", "b.com"):
                wait_for(lambda host=host: ask(router.port, host).status == 200, "it serves")
            requests = 'fastroute_key_requests_total{key="%s"}'
            wait_for(lambda: metrics(router).get(requests % "(fallback)", 0) >= 2, "the fallback is counted")
            found = metrics(router)
            assert found[requests % "foo.com"] == 3
            node = 'fastroute_node_requests_total{key="%s",node="%s"}'
            assert found[node % ("foo.com", tmp_path / "foo.com")] == 3
            assert found[node % ("(fallback)", spare.address)] == found[requests % "(fallback)"] == 2
            assert found['fastroute_key_answer_seconds_count{key="(fallback)"}'] == 2
            assert not [name for name in found if "a.com" in name or "b.com" in name or "mapped)" in name]


def status(router: Router, key: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/keys/{key}").json()
    return found


def test_what_two_relays_answer_is_counted_by_class_and_stays_when_they_are_reloaded_and_killed(tmp_path: Path) -> None:
    with UwsgiWorker("one") as worker, Router("--processes", "2", "--wait", "0") as router:
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "it serves")
        wait_for(lambda: status(router, "foo.com")["statuses"]["2xx"] == 1, "it is counted")
        ask_often(router, "foo.com", 10)
        wait_for(lambda: status(router, "foo.com")["statuses"]["2xx"] == 41, "all are counted")
        found = status(router, "foo.com")
        (node,) = found["nodes"]
        assert node["statuses"] == found["statuses"] == {"1xx": 0, "2xx": 41, "3xx": 0, "4xx": 0, "5xx": 0}
        assert 0 < node["rate"] <= 41
        assert 0 < node["p50_ms"] <= node["p95_ms"]
        router.send_signal(signal.SIGHUP)
        router.wait_line("reloaded: ")
        assert status(router, "foo.com")["statuses"]["2xx"] == 41
        (old, _) = children(router, "relay.main")
        os.kill(old, signal.SIGKILL)
        replaced(router, "relay.main", old)
        ask_often(router, "foo.com", 1)
        wait_for(lambda: status(router, "foo.com")["statuses"]["2xx"] == 45, "they are counted once")
        assert status(router, "foo.com")["rate"] <= 4, "what was counted before is in no rate"
        send_datagram(router.port, subscription_packet("foo.com", worker.address, leave=True))
        router.wait_line("foo.com => node removed: ")
        assert ask(router.port, "foo.com").status == 503
        wait_for(lambda: status(router, "foo.com")["statuses"]["5xx"], "our own answer is the key's")
        assert status(router, "foo.com")["statuses"]["2xx"] == 45, "what the node answered stays"
        assert metrics(router)['fastroute_responses_total{key="foo.com",status="2xx"}'] == 45
