"""The script that becomes nginx in the stack: it tells nginx of wildcards, when they come too, and of its version."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.programs import Program

SCRIPTS = Path(__file__).parents[2] / "compose" / "nginx"
#: Says what it is told, as nginx does at a reload.
STUB = """#!{python}
import signal, sys
if sys.argv[1] == "-v":
    print("nginx version: nginx/{version} (Debian)", file=sys.stderr)
    sys.exit()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
print("started", flush=True)
while signal.sigwait([signal.SIGHUP]):
    print("reloaded", flush=True)
"""


def start(folder: Path, version: str = "1.26.3", **env: str) -> Program:
    programs, tmp = folder / "bin", folder / "tmp"
    programs.mkdir()
    tmp.mkdir()
    (programs / "nginx").write_text(STUB.format(python=sys.executable, version=version))
    (programs / "nginx").chmod(0o755)
    path = f"{programs}:{SCRIPTS}:{os.environ['PATH']}"
    env = {"PATH": path, "TMPDIR": str(tmp), "FASTROUTE_CERTIFICATES": str(folder / "certificates")} | env
    return Program(str(SCRIPTS / "start-nginx"), env=env)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "certificates" / name).mkdir(parents=True, exist_ok=True)


def test_wildcards_are_told_and_new_ones_by_a_reload(tmp_path: Path) -> None:
    put(
        tmp_path,
        "foo.com",
        "own.example.com",
        "a.b.example.com",
        "_wildcard.example.com",
        "_wildcard.$(touch x)",
        ".pairs",
    )
    with start(tmp_path) as nginx:
        nginx.wait_line("started")
        file = tmp_path / "tmp" / "wildcards.map"
        assert file.read_text().splitlines() == [
            '    "own.example.com" "own.example.com";',
            '    "~^[a-z0-9_-]+[.]example[.]com$" "_wildcard.example.com";',
        ]
        put(tmp_path, "bar.com")
        put(tmp_path, "_wildcard.shop.test")
        nginx.wait_line("reloaded")
        assert '"~^[a-z0-9_-]+[.]shop[.]test$" "_wildcard.shop.test";' in file.read_text()
        assert nginx.output().count("reloaded") == 1


@pytest.mark.parametrize(
    ("version", "words"),
    [("1.22.1", ()), ("1.26.3", ("http2 on;",)), ("1.27.4", ("http2 on;", "ssl_certificate_cache")),
     ("2.0.0", ("http2 on;", "ssl_certificate_cache"))],
)  # fmt: skip
def test_a_directive_stands_there_if_nginx_knows_it(tmp_path: Path, version: str, words: tuple[str, ...]) -> None:
    with start(tmp_path, version, FASTROUTE_HTTPS_PORT="443") as nginx:
        nginx.wait_line("started")
        text = (tmp_path / "tmp" / "tls.conf").read_text()
    assert [word for word in ("http2 on;", "ssl_certificate_cache") if word in text] == list(words)
    assert 'default "";' in text


def test_a_port_that_is_none_is_said(tmp_path: Path) -> None:
    with start(tmp_path, FASTROUTE_HTTPS_PORT="https") as nginx:
        assert nginx.ended() == 2
        assert nginx.output() == "FASTROUTE_HTTPS_PORT: https is no port: a number expected\n"


def test_the_port_may_have_an_address_as_compose_takes_it(tmp_path: Path) -> None:
    with start(tmp_path, FASTROUTE_HTTPS_PORT="127.0.0.1:9443") as nginx:
        nginx.wait_line("started")
        assert 'default ":9443";' in (tmp_path / "tmp" / "tls.conf").read_text()
