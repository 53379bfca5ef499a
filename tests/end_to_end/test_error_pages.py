"""--error-pages: a real router sends them from its first request on, and others after SIGHUP; nobody notices that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from support.programs import Router, UwsgiWorker, wait_for
from support.survival import Load, children
from support.uwsgi_client import Answer, ask, send_datagram, subscription_packet

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def browse(router: Router, host: str, method: str = "GET") -> Answer:
    return ask(router.port, host, method=method, HTTP_ACCEPT=BROWSER)


def browse_until(router: Router, host: str, status: int) -> bytes:
    """The body of the first answer with this ``status``."""
    what = f"{host} is answered {status}"
    return wait_for(lambda: [answer.body] if (answer := browse(router, host)).status == status else [], what)[0]


def reload(router: Router, times: int) -> None:
    router.send_signal(signal.SIGHUP)
    router.wait_for(lambda: router.output().count("reloaded: ") == times, "it is reloaded")


def test_pages_are_read_at_the_start_and_at_sighup(tmp_path: Path) -> None:
    folder = tmp_path / "foo.com"
    folder.mkdir()
    (tmp_path / "404.html").write_text("<p>$status: $key</p>")
    (tmp_path / "502.html").write_text("x" * 65_536)
    options = ("--error-pages", str(tmp_path), "--processes", "2")
    with UwsgiWorker("one") as worker, Router(*options) as router:
        answer = browse(router, "<b>.test")
        assert (answer.status, answer.body) == (404, b"<p>404: &lt;b&gt;.test</p>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-fastroute-error"] == "no-key"
        head = browse(router, "<b>.test", "HEAD")
        assert (head.status, head.body, head.headers) == (404, b"", answer.headers)
        asked = ask(router.port, "a.test", HTTP_ACCEPT="application/json")
        assert json.loads(asked.body) == {
            "error": "no-key", "message": "no worker has announced a.test", "key": "a.test", "request_id": "",
        }  # fmt: skip
        assert ask(router.port, "a.test").body == b"no worker has announced a.test\n"
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        send_datagram(router.port, subscription_packet("down.test", "127.0.0.1:1"))
        browse_until(router, "foo.com", 200)
        assert browse_until(router, "down.test", 502) == b"x" * 65_536

        before = children(router, "relay.main")
        reload(router, 1)
        assert children(router, "relay.main") == before, "nothing of a relay's own has changed"
        (folder / "503.html").write_text("<p>soon</p>")
        (tmp_path / "502.html").write_bytes(b"\xff")
        with Load(router.port, "foo.com") as load:
            reload(router, 2)
            load.more(50)
        assert set(load.seen) == {200}
        wait_for(lambda: not set(children(router, "relay.main")) & set(before), "the relays before have ended")
        assert "reloaded: the files of error-pages" in router.output()
        assert f"{tmp_path}/502.html: is not UTF-8 (byte 0); the router's text is sent instead" in router.output()
        assert browse_until(router, "down.test", 502).startswith(b"no worker of down.test could be reached")
        send_datagram(router.port, subscription_packet("foo.com", worker.address, leave=True))
        assert browse_until(router, "foo.com", 503) == b"<p>soon</p>"

        # A relay that is started again has the pages that its generation was started with.
        (folder / "503.html").write_text("<p>later</p>")
        killed = children(router, "relay.main")
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(children(router, "relay.main")) - set(killed)) == 2, "they are back")
        assert browse(router, "foo.com").body == b"<p>soon</p>"


def test_a_directory_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("fastroute-router"))
    run = subprocess.run([program, "--error-pages", str(tmp_path / "no")], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2
    assert "error-pages" in run.stderr
    assert "directory that can be read expected" in run.stderr


def test_who_waits_in_vain_and_who_comes_during_maintenance_gets_a_page(tmp_path: Path) -> None:
    (tmp_path / "503.html").write_text("<p>busy</p>")
    (tmp_path / "maintenance.html").write_text("<p>$message</p>")
    with Router("--error-pages", str(tmp_path), "--wait", "0.3") as router:
        send_datagram(router.port, subscription_packet("foo.com", "127.0.0.1:1"))
        send_datagram(router.port, subscription_packet("foo.com", "127.0.0.1:1", leave=True))
        assert browse_until(router, "foo.com", 503) == b"<p>busy</p>"
        waited = browse(router, "foo.com")
        assert (waited.body, waited.headers["x-fastroute-waited"]) == (b"<p>busy</p>", "0.3")
        url = f"http://127.0.0.1:{router.admin_port}/v1/maintenance"
        done = httpx.post(url, json={"key": "foo.com", "message": "back <b>at noon</b>"})
        assert done.status_code == 200, done.text
        answer = browse(router, "foo.com")
        assert (answer.status, answer.headers["x-fastroute-error"]) == (503, "maintenance")
        assert answer.body == b"<p>back &lt;b&gt;at noon&lt;/b&gt;</p>"
        as_text = ask(router.port, "foo.com")
        assert as_text.body == b"back <b>at noon</b>\n"
        assert as_text.headers["x-content-type-options"] == "nosniff"
