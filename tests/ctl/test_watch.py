"""``--watch``: redrawn in place on a terminal, appended in a pipe, ended by Ctrl-C with 130."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.programs import wait_for

from fastroute.ctl import watch

Serve = Callable[[dict[str, Any]], Any]
CTL = str(Path(sys.executable).with_name("fastroute-ctl"))
NONE: dict[str, Any] = {"schema": "fastroute.containers/v1", "containers": []}


def started(url: str, out: int, *options: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "TERM": "xterm", "FASTROUTE_CONTROLLER_URL": url}
    environ.pop("NO_COLOR", None)
    return subprocess.Popen([CTL, "ps", "-w", *options], stdout=out, stderr=out, stdin=out, env=environ)


def test_on_a_terminal_it_is_redrawn_in_place_and_the_last_frame_stays(serve: Serve) -> None:
    ours, theirs = pty.openpty()
    running = started(serve({"/v1/containers": NONE}).url, theirs)
    os.close(theirs)
    text = os.read(ours, 1000)
    while b"no labelled" not in text:
        text += os.read(ours, 1000)
    running.send_signal(signal.SIGINT)
    with suppress(OSError):
        while more := os.read(ours, 1000):
            text += more
    os.close(ours)
    assert running.wait(10) == 130
    assert text.startswith(b"\x1b[?1049h\x1b[?25l\x1b[Hno labelled containers")
    assert b"\x1b[2J" not in text
    assert text.rpartition(b"\x1b[?1049l")[2].startswith(b"no labelled containers")


def test_in_a_pipe_it_is_appended_without_escapes(serve: Serve, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        running = started(serve({"/v1/containers": NONE}).url, out.fileno(), "-o", "table")
        wait_for(lambda: b"no labelled" in (tmp_path / "out").read_bytes(), "a first look")
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130
    assert b"\x1b" not in (tmp_path / "out").read_bytes()


def test_it_goes_on_when_who_was_asked_is_away(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastroute.ctl.errors import Unreachable
    from fastroute.ctl.settings import CtlSettings

    looks = iter([Unreachable("away"), None, KeyboardInterrupt()])

    def once() -> int:
        if (found := next(looks)) is not None:
            raise found
        print("here")
        return 0

    monkeypatch.setattr(watch, "REDRAW_INTERVAL", 0)
    with pytest.raises(KeyboardInterrupt):
        watch.watched(CtlSettings(watch=True), once)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("here\n", "fastroute-ctl: away\n")


def test_a_frame_that_is_too_long_says_what_is_missing() -> None:
    assert watch.fitted("a\nb\n", 2) == ["a", "b"]
    assert watch.fitted("a\nb\nc\n", 2) == ["a", "... 2 more lines"]
