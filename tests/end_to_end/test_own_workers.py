"""Router and workers as one: ``workers:`` in YAML, and one uWSGI INI with the options of both."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.announcing import LISTENER
from support.programs import ECHO_APP, Router, free_port, wait_for
from support.uwsgi_client import ask

UWSGI = "uwsgi --plugin python3 --socket 127.0.0.1:{port} --wsgi-file app.py --master --threads 2 --disable-logging"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("NAME = 'one'\n" + textwrap.dedent(ECHO_APP))
    (tmp_path / "listener.py").write_text(textwrap.dedent(LISTENER))
    return tmp_path


def yaml(site: Path, *workers: dict[str, object], name: str = "site.yaml") -> str:
    file = site / name
    file.write_text(json.dumps({"workers": list(workers)}))
    return str(file)


def foo(**more: object) -> dict[str, object]:
    return {"name": "foo", "key": "foo.com", "command": UWSGI, "probe": "/"} | more


def processes(site: Path) -> list[int]:
    """Everybody whose working directory is ``site``: its workers, and what they started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "cwd") == str(site):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def child(router: Router, name: str) -> int:
    """The process id of one of the router's own processes."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == str(router.process.pid) and f"fastroute.router.{name}.main".encode() in words:
            return int(path.name)
    raise AssertionError(f"the router has no process {name}")


@contextmanager
def load(router: Router, key: str = "foo.com") -> Iterator[list[int]]:
    seen: list[int] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            seen.append(ask(router.port, key).status)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield seen
    over.set()
    for thread in threads:
        thread.join()


def serves(router: Router, count: int, name: str = "foo") -> None:
    router.wait_for(lambda: router.output().count("serves foo.com") >= count, f"{count} times {name} serves")


def test_requests_wait_for_a_worker_that_is_only_starting(site: Path) -> None:
    file = yaml(site, foo(command=f"sh -c 'while ! [ -e go ]; do sleep 0.1; done; exec {UWSGI}'", wait="20s"))
    with Router(file) as router:
        assert ask(router.port, "bar.com").status == 404
        with ThreadPoolExecutor() as pool:
            early = pool.submit(ask, router.port, "foo.com")
            url = f"http://127.0.0.1:{router.admin_port}/metrics"
            router.wait_for(lambda: 'fastroute_waiting{key="foo.com"} 1' in get(url), "a request waits")
            (site / "go").touch()
            assert early.result().status == 200


def get(url: str) -> str:
    return str(urllib.request.urlopen(url).read().decode())


def test_workers_are_replaced_one_by_one_and_no_request_fails_and_nothing_is_left(site: Path) -> None:
    with Router(yaml(site, foo(count=2))) as router:
        serves(router, 2)
        with load(router) as seen:
            router.send_signal(signal.SIGHUP)
            serves(router, 4)
            router.wait_for(lambda: router.output().count("(withdrawn)") == 2, "the old ones are withdrawn")
        assert set(seen) == {200}
        assert len(seen) > 50
        router.send_signal(signal.SIGTERM)
        assert router.ended() == 0
        assert processes(site) == []
        assert "foo.1: spawned uWSGI worker 1" in router.output()


def test_whoever_is_killed_is_started_again_and_nobody_outlives_the_router(site: Path) -> None:
    with Router(yaml(site, foo(), {**foo(), "name": "bar", "key": "bar.com"})) as router:
        serves(router, 1)
        router.wait_for(lambda: ask(router.port, "bar.com").status == 200, "bar serves")
        master = next(pid for pid in processes(site) if f"(pid {pid}) serves foo.com" in router.output())
        os.kill(master, signal.SIGKILL)
        serves(router, 2)
        router.wait_line(f"foo (pid {master}) ended, killed by signal 9: started again in 0.1 s")
        before = processes(site)
        os.kill(child(router, "supervisor"), signal.SIGKILL)
        serves(router, 3)
        wait_for(lambda: not set(before) & set(processes(site)), "the old workers are gone")
        router.wait_for(lambda: ask(router.port, "foo.com").status == 200, "the new one answers")
        os.kill(child(router, "control"), signal.SIGKILL)
        router.wait_for(lambda: ask(router.port, "foo.com").status == 200, "through a new control")
        router.stop(signal.SIGKILL)
        wait_for(lambda: processes(site) == [], "nobody is left")


def test_restart_policies(site: Path) -> None:
    script = "python3 -c 'print(\"did it\", {port})'"
    once = {"name": "once", "key": "o.com", "command": script, "restart": "on-failure"}
    fails = {"name": "fails", "key": "f.com", "command": "false {port}"}
    missing = {"name": "missing", "key": "m.com", "command": "no-such-program {port}"}
    with Router(yaml(site, once, fails, missing, foo())) as router:  # type: ignore[arg-type]
        router.wait_line("exit code 0: not started again (restart: on-failure)")
        router.wait_line("once: did it")
        router.wait_line("exit code 1: started again in 0.4 s")
        router.wait_line("missing can't be started: no-such-program: command not found")
        serves(router, 1)


def test_a_new_plan_at_sighup_and_a_replacement_that_fails(site: Path) -> None:
    file = yaml(site, foo(), {**foo(), "name": "bar", "key": "bar.com"})
    with Router(file) as router:
        router.wait_for(lambda: ask(router.port, "foo.com").status == ask(router.port, "bar.com").status == 200, "both")
        yaml(site, foo(command="false {port}"), {**foo(), "name": "new", "key": "new.com"})
        with load(router) as seen:
            router.send_signal(signal.SIGHUP)
            router.wait_line("foo: its replacement failed, it ended, exit code 1; the one before it goes on")
            router.wait_for(lambda: ask(router.port, "new.com").status == 200, "the new one serves")
            router.wait_for(lambda: ask(router.port, "bar.com").status == 503, "the old one left")
        assert set(seen) == {200}


def test_an_http_worker_and_its_environment(site: Path) -> None:
    (site / "greeting.txt").write_text("hello over HTTP")
    http = {
        "name": "files", "key": "files.com", "protocol": "http", "weight": 3, "environment": {"PYTHONUNBUFFERED": "1"},
        "command": "python3 -m http.server --bind 127.0.0.1 {port}",
    }  # fmt: skip
    with Router(yaml(site, http)) as router:
        router.wait_line("serves files.com")
        answer = ask(router.port, "files.com", path="/greeting.txt")
        assert (answer.status, answer.body) == (200, b"hello over HTTP")
        with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=10) as status:
            (key,) = json.load(status)["keys"]
        assert (key["key"], key["nodes"][0]["weight"]) == ("files.com", 3)


SINGLE = """[uwsgi]
fastrouter = 127.0.0.1:%(port)
fastrouter-subscription-server = 127.0.0.1:%(port)
set-placeholder = port={port}
plugins = fastrouter,python3
socket = 127.*:0
subscribe2 = key=foo.com
wsgi-file = app.py
processes = 1
threads = 2
heartbeat = 10
"""


def test_one_uwsgi_ini_is_router_and_worker(site: Path) -> None:
    port = free_port()
    file = site / "single.ini"
    file.write_text(SINGLE.replace("{port}", str(port)).replace("app.py", f"{site}/app.py"))
    with Router(str(file), "--listen", f"127.0.0.1:{port}", "--subscription-server", f"127.0.0.1:{port}") as router:
        router.port = port
        serves(router, 1)
        assert ask(port, "foo.com").node == "one"
        with load(router) as seen:
            file.write_text(file.read_text().replace("processes = 1", "processes = 2"))
            router.send_signal(signal.SIGHUP)
            router.wait_line("uwsgi: spawned uWSGI worker 2")
            router.wait_for(lambda: len(seen) > 50, "requests after it")
        assert set(seen) == {200}
        router.send_signal(signal.SIGTERM)
        assert router.ended() == 0
        # Not uWSGI's own last word: it is deaf to signals for a moment after its reload, and is then killed in the end.
        assert "(withdrawn)" in router.output()
