"""Keys as people write them (a host in any script, a percent-encoded path), in every place where they write them: they
are those that requests ask for."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.announcing import Announced
from support.fake_docker import fake_engine
from support.programs import Controller, Nginx, Router, wait_for
from support.uwsgi_client import ask
from support.workers import Worker, answers

from fastroute.controller.files.static import read_static
from fastroute.router.config import options

WRITTEN, KEY = "Bücher.test", "xn--bcher-kva.test"


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = Worker(answers(b"books"))
    yield one
    one.close()


def ctl(router: Router, *words: str, controller: int = 1) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1", "FASTROUTE_ROUTER_URL": f"http://127.0.0.1:{router.admin_port}",
        "FASTROUTE_CONTROLLER_URL": f"http://127.0.0.1:{controller}", "FASTROUTE_ROUTER": f"127.0.0.1:{router.port}",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("fastroute-ctl")), *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=20)


def test_a_fixed_node_is_found_under_either_name_and_shown_with_both(worker: Worker) -> None:
    with Router("--node", f"{WRITTEN}={worker.address}") as router:
        assert ask(router.port, KEY).body == b"books"
        for name in (WRITTEN, KEY, "BÜCHER.TEST."):
            shown = ctl(router, "status", name)
            assert (shown.returncode, shown.stderr) == (0, "")
            assert f"{KEY} (bücher.test)" in shown.stdout
        assert ctl(router, "status", WRITTEN, "-o", "name").stdout == f"{KEY}\n"
        assert f"Key        {KEY} (bücher.test)" in ctl(router, "describe", WRITTEN).stdout
        assert ctl(router, "wait", WRITTEN, "--ready", "1", "--timeout", "5").returncode == 0
        for target in (WRITTEN, f"{WRITTEN}@{worker.address}"):
            drained = ctl(router, "drain", target)
            assert (drained.returncode, f"{KEY} (bücher.test)" in drained.stdout) == (0, True), drained
            assert ctl(router, "undrain", target).returncode == 0


def test_an_operator_subscribes_and_takes_back(worker: Worker) -> None:
    with Router() as router:
        assert (
            f"{KEY} (bücher.test) => {worker.address} subscribed"
            in ctl(router, "subscribe", WRITTEN, worker.address).stdout
        )
        assert ask(router.port, KEY).body == b"books"
        assert ctl(router, "unsubscribe", WRITTEN, worker.address).returncode == 0
        assert ask(router.port, KEY).status == 503


def test_a_worker_is_announced(worker: Worker) -> None:
    with (
        Router() as router,
        Announced("--router", f"127.0.0.1:{router.port}", "--key", WRITTEN, "--address", worker.address),
    ):
        router.wait_for(lambda: ask(router.port, KEY).body == b"books", "the worker serves")


def test_a_label_serves_and_is_shown_with_both(tmp_path: Path, worker: Worker) -> None:
    with fake_engine(tmp_path) as docker, Router() as router:
        docker.run("books", {"fastroute.key": WRITTEN, "fastroute.probe": "none"})
        with Controller(docker.url, router) as controller:
            port = controller.admin_port
            wait_for(lambda: f"{KEY} (bücher.test)@" in ctl(router, "ps", controller=port).stdout, "ps shows it")
            found = ctl(router, "describe", "books", controller=port).stdout
            assert "fastroute.key = Bücher.test" in found
            assert f"{KEY} (bücher.test) => " in found
            drained = ctl(router, "drain", WRITTEN, "-o", "json", controller=port)
            assert [one["key"] for one in json.loads(drained.stdout)["targets"]] == [KEY]


def test_every_file_may_say_it(tmp_path: Path) -> None:
    static = f"nodes: [{{key: [{WRITTEN}], address: 10.0.0.1:80}}]"
    assert [node.entry.key for node in read_static(static.encode(), "static.yaml")] == [KEY]
    file = tmp_path / "router.yaml"
    file.write_text(
        f"router: {{node: ['{WRITTEN}=127.0.0.1:8000']}}\n"
        f"workers: [{{name: w, key: {WRITTEN}, command: 'true {{port}}'}}]\n",
        "utf-8",
    )
    settings = options.parse([str(file)], {})
    assert [one.key for one in settings.node] == [KEY]
    assert [one.key for one in settings.workers] == [(KEY,)]


def test_a_percent_encoded_path_is_matched_behind_nginx(worker: Worker) -> None:
    with Router("--node", f"foo.com/%61pi%2Fv1={worker.address}") as router, Nginx(f"127.0.0.1:{router.port}") as nginx:
        for path in ("/api/v1/x", "/%61p%69/v1", "/api%2Fv1"):
            connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)
            connection.request("GET", path, headers={"Host": "foo.com"})
            assert connection.getresponse().status == 200, path
            connection.close()
