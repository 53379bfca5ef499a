"""The log's file: whole lines, buffers, reopening, and troubles that stop nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from support.ended import ended_request

from fastroute.router.relay.access_line import AccessRecord
from fastroute.router.relay.access_log import MAX_UNWRITTEN, RECORDS_PER_BATCH, AccessLog

NOW = 50.0


def request(key: bytes = b"foo.com", **more: Any) -> AccessRecord:
    return ended_request(key=key, ended=NOW, total_time=0.0, **more)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_lines_wait_for_the_flush_or_for_a_full_buffer(folder: Path, said: list[str]) -> None:
    log = AccessLog(str(folder / "a.log"), "text", said.append, NOW)
    log.add(request(), NOW)
    assert log.waiting
    assert lines(folder / "a.log") == []
    log.flush(NOW)
    assert not log.waiting
    assert len(lines(folder / "a.log")) == 1
    for _ in range(RECORDS_PER_BATCH * 20):
        log.add(request(), NOW)
    assert len(lines(folder / "a.log")) > RECORDS_PER_BATCH * 10
    assert said == []


def test_after_a_rename_reopening_begins_a_new_file_and_loses_nothing(folder: Path, said: list[str]) -> None:
    log = AccessLog(str(folder / "a.log"), "text", said.append, NOW)
    log.add(request(b"old.com"), NOW)
    (folder / "a.log").rename(folder / "a.log.1")
    log.reopen(NOW)
    log.add(request(b"new.com"), NOW)
    log.flush(NOW)
    assert "old.com" in (folder / "a.log.1").read_text()
    assert "new.com" in (folder / "a.log").read_text()
    assert "new.com" not in (folder / "a.log.1").read_text()


def test_reopening_where_that_fails_goes_on_in_the_old_file(folder: Path, said: list[str]) -> None:
    (folder / "d").mkdir()
    log = AccessLog(str(folder / "d/a.log"), "text", said.append, NOW)
    (folder / "d").rename(folder / "e")
    log.reopen(NOW)
    log.add(request(), NOW)
    log.flush(NOW)
    assert len(lines(folder / "e/a.log")) == 1
    assert "No such file" in said[0]


def test_a_missing_folder_is_said_once_and_used_once_it_is_there(folder: Path, said: list[str]) -> None:
    log = AccessLog(str(folder / "d/a.log"), "json", said.append, NOW)
    for turn in range(5):
        log.add(request(), NOW)
        log.flush(NOW + turn / 10)
    assert not log.waiting
    assert len(said) == 1
    (folder / "d").mkdir()
    log.add(request(), NOW)
    log.flush(NOW + 5)
    assert len(lines(folder / "d/a.log")) == 1
    assert said[1].endswith("is written again; 5 lines were lost")


def test_a_full_disk_is_said_once_and_stops_nothing(said: list[str]) -> None:
    log = AccessLog("/dev/full", "text", said.append, NOW)
    for _ in range(3):
        log.add(request(), NOW)
        log.flush(NOW)
    assert not log.waiting
    assert len(said) == 1
    assert "No space left on device" in said[0]


def test_a_line_that_a_full_disk_cut_is_ended_before_the_next(
    folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AccessLog(str(folder / "a.log"), "text", said.append, NOW)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) - 30]))
    log.add(request(b"one.com"), NOW)
    log.add(request(b"cut.com"), NOW)
    log.flush(NOW)
    monkeypatch.undo()
    log.add(request(b"next.com"), NOW)
    log.flush(NOW)
    first, cut, last = lines(folder / "a.log")
    assert ("one.com" in first, "cut.com" in cut, "next.com" in last) == (True, True, True)
    assert last.startswith("- - - [")
    assert said[1].endswith("1 lines were lost")


def test_several_relays_on_one_pipe_never_mix_their_lines(folder: Path, said: list[str]) -> None:
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    logs = [AccessLog(str(folder / "pipe"), "text", said.append, NOW) for _ in range(2)]
    for number in range(200):
        for index, log in enumerate(logs):
            log.add(request(b"%d-%d-%b" % (index, number, b"k" * (number % 200))), NOW)
            if number % 7 == index:
                log.flush(NOW)
    got = ""
    while any(log.waiting for log in logs):
        for log in logs:
            log.flush(NOW)
            with contextlib.suppress(BlockingIOError):
                got += os.read(reader, 1 << 20).decode()
    os.close(reader)
    assert len(got.splitlines()) == 400
    assert all(line.startswith("- - - [") for line in got.splitlines())
    assert all(line.endswith(" error=- id=- queue=- waited=-") for line in got.splitlines())


def test_a_reader_that_does_not_read_costs_bounded_memory_and_no_waiting(folder: Path, said: list[str]) -> None:
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(folder / "pipe"), "text", said.append, NOW)
    for _ in range(20_000):
        log.add(request(), NOW)
        if len(said) == 1:
            break
    assert "reader is too slow" in said[0]
    assert len(log._unwritten) <= MAX_UNWRITTEN
    got = b""
    while log.waiting:
        log.flush(NOW)
        got += os.read(reader, 1 << 20)
    got += os.read(reader, 1 << 20) if not got.endswith(b"\n") else b""
    os.close(reader)
    assert all(line.endswith(b"queue=- waited=-") for line in got.splitlines())
    assert "lines were lost" in said[-1]
