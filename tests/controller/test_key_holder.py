"""The controller's pauses: told once the routers know its name, ended in time, kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import wait_for

from fastroute.controller.desired import Desired, RouteDiff
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.key_holder import KeyHolder
from fastroute.router.protocol.key_state import MAINTENANCE, PAUSED, AnnouncedState


class Recorder:
    """A sink that remembers what it was given."""

    def __init__(self) -> None:
        self.applied: list[Desired] = []

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        self.applied.append(dict(desired))

    def routers(self) -> dict[str, str]:
        return {"one": ""}

    @property
    def keys(self) -> set[str] | None:
        return {key for key, _, _ in self.applied[-1]} if self.applied else None


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder, self.named = folder, True
        self.events = ControllerEvents()
        self.holders: list[KeyHolder] = []

    def start(self) -> tuple[KeyHolder, Recorder]:
        sink = Recorder()
        holder = KeyHolder(sink, StateFile.of_keys(str(self.folder)), self.events, lambda: self.named)
        self.holders.append(holder)
        holder.start()
        return holder, sink


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for holder in scene.holders:
        holder.close()


def test_nothing_is_told_before_something_is_asked_and_a_time_that_is_over_is_told(scene: Scene) -> None:
    holder, sink = scene.start()
    assert sink.keys is None
    holder.hold("foo.com", AnnouncedState(PAUSED, seconds=0.3, stamp=1))
    holder.hold("bar.com", AnnouncedState(MAINTENANCE, "back at 9", stamp=2))
    wait_for(lambda: sink.keys == {"foo.com", "bar.com"}, "both are told")
    wait_for(lambda: sink.keys == {"bar.com"}, "the pause is over")
    texts = [event.text for event in scene.events.recent() if event.kind == "operator"]
    assert texts == [
        "foo.com paused for 0.3 s", 'bar.com in maintenance until it is resumed; message "back at 9"',
        "foo.com serves again: its time is over",
    ]  # fmt: skip
    assert holder.release("bar.com")
    assert not holder.release("bar.com")
    wait_for(lambda: sink.keys == set(), "nothing is held")


def test_until_the_routers_can_know_its_name_it_says_what_it_waits_for(scene: Scene) -> None:
    scene.named = False
    holder, sink = scene.start()
    holder.hold("foo.com", AnnouncedState(PAUSED, seconds=600, stamp=1))
    assert holder.routers() == {"(all)": "Docker was not reached yet, so this controller has no name"}
    scene.named = True
    wait_for(lambda: sink.keys == {"foo.com"}, "it is told")
    assert holder.routers() == {"one": ""}


def test_a_successor_holds_what_is_kept_and_one_without_says_so_to_the_routers(scene: Scene, tmp_path: Path) -> None:
    holder, _ = scene.start()
    holder.hold("foo.com", AnnouncedState(MAINTENANCE, stamp=1))
    holder.close()
    successor, sink = scene.start()
    wait_for(lambda: sink.keys == {"foo.com"}, "it is told at once")
    assert successor.get("foo.com")
    (tmp_path / "keys.json").unlink()
    forgetful, sink = scene.start()
    assert sink.keys is None
    assert forgetful.release("foo.com"), "it can't know"
    wait_for(lambda: sink.keys == set(), "routers are told that nothing is held")
    assert not forgetful.release("foo.com")
