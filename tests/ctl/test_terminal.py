"""What strangers wrote into labels, keys and errors never steers the operator's terminal, whatever the verb."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastroute.ctl.terminal import safe

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]

CTL = str(Path(sys.executable).with_name("fastroute-ctl"))
#: Title and clear screen by escape sequences, red by C1, text turned around, a line of its own.
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\x7f\nready"
#: As it is shown; rich leaves the bell out.
ESCAPED = r"\x1b]0;owned\x1b[2J\x9b31m\u202egnp\x7f\nready"
NODE = {"address": EVIL, "state": EVIL, "source": EVIL, "container": EVIL, "weight": 1, "backup": 0, "requests": 5,
        "in_flight": 1, "failures": 0, "tx": 2048, "rx": 10, "last_seen": None}  # fmt: skip
KEY = {"key": EVIL, "algorithm": EVIL, "ready": 0, "total": 1, "requests": 5, "nodes": [NODE]}
ROW = {"id": "abc123", "name": EVIL, "state": "error", "reason": EVIL, "health": EVIL, "since": EVIL,
       "routes": [{"key": EVIL, "address": EVIL, "why": EVIL, "state": EVIL, "reason": EVIL}]}  # fmt: skip
DETAILS = ROW | {
    "labels": {EVIL: EVIL}, "problems": [EVIL], "warnings": [EVIL], "engine": EVIL, "project": EVIL,
    "docker": {"status": EVIL, "started": None, "network_mode": EVIL, "networks": [{"name": EVIL, "address": EVIL}]},
    "parsed": [{"name": EVIL, "keys": [EVIL], "probe": EVIL}],
    "transitions": [{"time": EVIL, "state": EVIL, "reason": EVIL, "cause": EVIL}],
}  # fmt: skip
TARGETS = {"targets": [{"key": EVIL, "address": EVIL, "container": EVIL, "in_flight": 0}]}
EVENT = "".join(
    f"data: {line}\n\n" for line in ('{"time": 1, "kind": "x", "text": "\\u001b[2J\\u009b31m\\u202e\\ngnp"}',)
)
REFUSED = (400, '{"error": "no \\u001b[2J\\nready", "candidates": ["\\u202e"]}')
CONTROLLER = {"connected": False, "last_event": EVIL, "last_sync": EVIL, "sources": [EVIL], "mode": "router",
              "engines": [{"url": EVIL, "trouble": EVIL}], "files": [{"problem": EVIL}]}  # fmt: skip
ANSWERS = {
    "/v1/status": {"schema": "x", "router": {"version": EVIL}, "controller": CONTROLLER, "keys": [KEY]},
    "/v1/containers": {"schema": "fastroute.containers/v1", "containers": [ROW]},
    "/v1/containers/x": DETAILS, "/v1/keys/x": KEY, "/v1/drain": TARGETS, "/v1/weight": REFUSED,
    "/v1/events?follow=0": (200, EVENT), "/v1/resync": {"result": EVIL},
    "/v1/nginx": {"files": {EVIL: EVIL}, "current": {}, "problems": [EVIL], "directory": EVIL, "hash": EVIL},
}  # fmt: skip
VERBS = [
    ["status"], ["status", "x" + EVIL], ["status", "--check"], ["ps"], ["describe", "x"], ["events"], ["drain", "x"],
    ["weight", "x", "3"], ["resync"], ["render", "--diff"], ["wait", EVIL, "--ready", "1", "--timeout", "0.1"],
    ["nonsense" + EVIL], ["describe", EVIL], ["check", EVIL], ["version"], ["config", "show", "router", EVIL],
    ["subscribe", EVIL, EVIL],
]  # fmt: skip


def unsafe(text: str) -> list[str]:
    return sorted({character for character in text if not character.isprintable() and character not in "\n"})


@pytest.mark.parametrize(
    ("verb", "output"),
    [(verb, "table") for verb in VERBS]
    + [(verb, output) for verb in VERBS[:7] for output in ("wide", "json", "yaml", "name")],
    ids=lambda value: ascii(value if isinstance(value, str) else " ".join(value)[:20]),
)
def test_no_verb_lets_control_characters_through(ctl: Ctl, serve: Serve, verb: list[str], output: str) -> None:
    server = serve(ANSWERS)
    options = [] if verb[0] == "render" else ["-o", output]
    ran = ctl("--router-url", server.url, "--controller-url", server.url, *verb, *options)
    assert ran.out or ran.err
    # Rendered files go to the byte into files and pipes; that they have no such characters is the renderer's business.
    assert (unsafe(ran.out) if verb[0] != "render" else [], unsafe(ran.err)) == ([], [])


def test_a_label_can_not_forge_a_line(ctl: Ctl, serve: Serve) -> None:
    server = serve(ANSWERS)
    ran = ctl("--router-url", server.url, "--controller-url", server.url, "describe", "x")
    assert f"  {ESCAPED} = {ESCAPED}" in ran.out.splitlines()
    assert "ready" not in ran.out.splitlines()


def on_a_terminal(*words: str, **environ: str) -> str:
    """What fastroute-ctl writes to a terminal."""
    here, there = pty.openpty()
    with subprocess.Popen([CTL, *words], stdout=there, stderr=there, stdin=there, env={**os.environ, **environ}):
        os.close(there)
        data = b""
        try:
            while piece := os.read(here, 65536):
                data += piece
        except OSError:  # EIO: the other end is closed
            pass
    os.close(here)
    return data.decode()


def test_a_terminal_gets_our_colours_and_nothing_of_theirs(serve: Serve) -> None:
    url = serve(ANSWERS).url
    urls = {"FASTROUTE_ROUTER_URL": url, "FASTROUTE_CONTROLLER_URL": url, "TERM": "xterm", "COLUMNS": "500"}
    shown = on_a_terminal("ps", **urls)
    assert "\x1b[31merror" in shown
    assert ESCAPED in shown
    assert not {"\x9b", "\x07", "\u202e"} & set(shown)
    assert "\x1b[2J" not in shown
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(on_a_terminal("render", **urls))


def test_what_is_printable_stays_in_any_script() -> None:
    assert safe("bücher אב 日本\n\tx") == "bücher אב 日本\n\tx"
    assert safe("a\x1b\x9b\u2066\u200e\r") == r"a\x1b\x9b\u2066\u200e\r"


def test_a_locale_without_the_letters_gets_escapes_and_no_traceback(serve: Serve) -> None:
    key = KEY | {"key": "xn--bcher-kva.test"}
    url = serve({"/v1/status": {"schema": "x", "router": {}, "controller": None, "keys": [key]}}).url
    environ = {**os.environ, "FASTROUTE_ROUTER_URL": url, "FASTROUTE_CONTROLLER_URL": "http://127.0.0.1:1",
               "PYTHONIOENCODING": "ascii"}  # fmt: skip
    done = subprocess.run([CTL, "status"], env=environ, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"xn--bcher-kva.test (b\xfccher.test)" in done.stdout
