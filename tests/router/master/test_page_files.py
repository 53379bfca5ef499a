"""The files of error pages: what can be used is, what can't is said, and nothing holds up the master."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastroute.router.config.error_pages import MAX_PAGE
from fastroute.router.master import page_files
from fastroute.router.master.page_files import PageFile, read_pages
from fastroute.router.relay.error_pages import ErrorPages
from fastroute.router.relay.main import map_pages


@pytest.fixture
def opened() -> Iterator[list[PageFile]]:
    files: list[PageFile] = []
    yield files
    for file in {id(file): file for file in files}.values():
        file.close()


def read(directory: Path, opened: list[PageFile], before: PageFile | None = None) -> ErrorPages:
    file = read_pages(str(directory), before)
    assert file is not None
    opened.append(file)
    return map_pages(os.dup(file.fd))


def test_relays_find_the_pages_of_all_keys_and_those_of_one(tmp_path: Path, opened: list[PageFile]) -> None:
    (tmp_path / "503.html").write_text("all")
    (tmp_path / "404.html").symlink_to("503.html")
    for folder in ("foo.com", "%2A.foo.com", "bar.com%2Fapi", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "503.html").write_text(folder)
    pages = read(tmp_path, opened)
    keys = ("foo.com", "*.foo.com", "bar.com/api", ".hidden", "bar.com")
    assert [pages.find("no-node", [key]) for key in keys] == [
        b"foo.com",
        b"%2A.foo.com",
        b"bar.com%2Fapi",
        b"all",
        b"all",
    ]
    assert pages.find("no-key", []) == b"all"
    assert pages.find("timeout", ["foo.com"]) == b""


def test_what_cannot_be_used_is_said_and_left_out(
    tmp_path: Path, opened: list[PageFile], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "404.html").write_text("good")
    (tmp_path / "502.html").write_bytes(b"x" * (MAX_PAGE + 1))
    (tmp_path / "503.html").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "504.html")
    (tmp_path / "maintenance.html").symlink_to("nothing")
    (tmp_path / "505.html").write_text("no page")
    (tmp_path / "style.css").write_text("nobody minds")
    (tmp_path / "foo.com").mkdir()
    (tmp_path / "foo.com" / "503.html").mkdir()
    (tmp_path / "Foo.com").mkdir()
    (tmp_path / "not a key").mkdir()
    pages = read(tmp_path, opened)
    assert pages.find("no-key", []) == b"good"
    assert {pages.find(kind, ["foo.com"]) for kind in ("no-node", "bad-gateway", "timeout", "maintenance")} == {b""}
    text, ignored = "; the router's text is sent instead", "; no page of this one is used"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"error-pages: {tmp_path}/502.html: has more than 65536 bytes{text}",
        f"error-pages: {tmp_path}/503.html: is not UTF-8 (byte 0){text}",
        f"error-pages: {tmp_path}/504.html: is no file{text}",
        f"error-pages: {tmp_path}/505.html: no page has this name: 404.html, 502.html, 503.html, 504.html,"
        " maintenance.html expected; did you mean 504.html?; it is ignored",
        f"error-pages: {tmp_path}/maintenance.html: cannot be read: No such file or directory{text}",
        f"error-pages: {tmp_path}/foo.com: 'Foo.com' is the folder of the same key{ignored}",
        f"error-pages: {tmp_path}/not a key: 'not a key' is no key: a host name expected, optionally with '*.' in"
        " front, ':port' or '/path' behind, at most 255 bytes (like foo.com, *.foo.com, foo.com/api); no page of it"
        " is used",
    ]


def test_what_is_no_file_costs_no_descriptor(tmp_path: Path, opened: list[PageFile]) -> None:
    (tmp_path / "503.html").mkdir()
    os.mkfifo(tmp_path / "504.html")
    read(tmp_path, opened)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert read_pages(str(tmp_path), opened[0]) is opened[0]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_gone_is_said(
    tmp_path: Path, opened: list[PageFile], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path / "gone", opened).find("no-key", []) == b""
    assert caplog.text.count(f"error-pages: {tmp_path}/gone: cannot be read: No such file or directory") == 1
    assert read_pages(None, None) is None


def test_many_problems_and_many_entries_are_bounded(
    tmp_path: Path, opened: list[PageFile], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_files, "MAX_ENTRIES", 50)
    for number in range(60):
        (tmp_path / f"{number}.html").write_text("")
    read(tmp_path, opened)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == page_files.MAX_SAID + 1
    assert "has more than 50 entries; some of them are not looked at" in warnings[0]
    assert warnings[-1] == f"error-pages: {51 - page_files.MAX_SAID} more problems like these"


def test_pages_that_did_not_change_are_the_same_and_cannot_be_changed(tmp_path: Path, opened: list[PageFile]) -> None:
    page = tmp_path / "503.html"
    page.write_text("one")
    read(tmp_path, opened)
    assert read(tmp_path, opened, opened[0]).find("no-node", []) == b"one"
    assert opened[1] is opened[0]
    page.write_text("two")
    assert read(tmp_path, opened, opened[0]).find("no-node", []) == b"two"
    assert opened[2] is not opened[0]
    with pytest.raises(PermissionError):
        os.pwrite(opened[0].fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(opened[0].fd, 0)
