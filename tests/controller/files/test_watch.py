"""Files replaced, rewritten and swapped in every way that people and orchestrators do it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.programs import wait_for

from fastroute.controller.files import watch
from fastroute.controller.files.watch import Watcher, directories

#: Seconds: so long that what is seen was seen by an event.
NEVER = 3600.0


@pytest.fixture
def seen() -> Iterator[Callable[..., list[tuple[Path, str]]]]:
    """Starts a watcher; what it returns are (path, content when called)."""
    watchers = []

    def start(*paths: Path, poll: float = NEVER) -> list[tuple[Path, str]]:
        calls: list[tuple[Path, str]] = []

        def changed(path: Path) -> None:
            calls.append((path, path.read_text() if path.is_file() else ""))

        watchers.append(Watcher(paths, changed, poll=poll))
        watchers[-1].start()
        wait_for(lambda: watchers[-1]._watches, "the watches")
        return calls

    yield start
    for watcher in watchers:
        watcher.stop()


def replace(path: Path, text: str) -> None:
    other = path.with_name("new")
    other.write_text(text)
    os.replace(other, path)


def config_map(top: Path, version: str, text: str) -> None:
    """As the kubelet does it: the files in a directory of their own, a link to it renamed into place."""
    (top / f"..{version}").mkdir(parents=True)
    (top / f"..{version}" / "nodes.yaml").write_text(text)
    os.symlink(f"..{version}", top / "..data_tmp")
    os.replace(top / "..data_tmp", top / "..data")
    if not (top / "nodes.yaml").is_symlink():
        os.symlink("..data/nodes.yaml", top / "nodes.yaml")


@pytest.mark.parametrize("write", [Path.write_text, replace])
def test_a_file_rewritten_or_replaced_again_and_again(tmp_path: Path, seen, write) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text("0")
    calls = seen(file)
    for number in "123":
        write(file, number)
        wait_for(lambda number=number: calls and calls[-1] == (file, number), f"change {number}")


def test_a_config_map_swaps_a_link_and_every_swap_is_seen(tmp_path: Path, seen) -> None:
    config_map(tmp_path, "1", "one")
    calls = seen(tmp_path / "nodes.yaml")
    for version in ("2", "3"):
        config_map(tmp_path, version, version)
        wait_for(lambda version=version: calls and calls[-1][1] == version, f"version {version}")


def test_a_link_elsewhere_and_the_file_behind_it(tmp_path: Path, seen) -> None:
    behind = tmp_path / "elsewhere" / "file"
    behind.parent.mkdir()
    behind.write_text("1")
    (tmp_path / "link").symlink_to(behind)
    calls = seen(tmp_path / "link")
    replace(behind, "2")
    wait_for(lambda: calls and calls[-1][1] == "2", "the file behind the link")


def test_a_file_that_goes_and_comes_back(tmp_path: Path, seen) -> None:
    file = tmp_path / "nodes.yaml"
    calls = seen(file)
    file.write_text("1")
    wait_for(lambda: calls == [(file, "1")], "its coming")
    file.unlink()
    wait_for(lambda: calls[1:] == [(file, "")], "its going")


def test_a_directory_is_everything_below_it(tmp_path: Path, seen) -> None:
    (tmp_path / "deep").mkdir()
    calls = seen(tmp_path)
    (tmp_path / "deep" / "a.j2").write_text("1")
    wait_for(lambda: calls, "a new file below")
    assert {path for path, _ in calls} == {tmp_path}


def test_neighbours_reading_and_touching_nothing_are_no_change(tmp_path: Path, seen) -> None:
    file, marker = tmp_path / "nodes.yaml", tmp_path / "marker"
    file.write_text("1")
    calls = seen(file, marker)
    file.read_text()
    (tmp_path / "neighbour").write_text("x")
    marker.write_text("end")
    wait_for(lambda: calls, "the marker")
    assert calls == [(marker, "end")]


def test_without_file_events_it_looks_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(watch, "Observer", none)
    file, called = tmp_path / "nodes.yaml", threading.Event()
    watcher = Watcher([file], lambda path: called.set(), poll=0.01)
    watcher.start()
    file.write_text("1")
    assert called.wait(10)
    watcher.stop()


def test_a_callback_that_raises_is_not_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, calls = tmp_path / "nodes.yaml", []

    def changed(path: Path) -> None:
        calls.append(path)
        raise RuntimeError("as told")

    watcher = Watcher([file], changed)
    watcher.start()
    for number in "12":
        file.write_text(number)
        wait_for(lambda number=number: len(calls) == int(number), f"call {number}")
    watcher.stop()
    assert "as told" in caplog.text


def test_links_that_lead_nowhere_or_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert directories(tmp_path / "a")
    (tmp_path / "c").symlink_to("/nowhere/at/all")
    assert directories(tmp_path / "c") == {tmp_path: False}
