"""What no fake can be sure of: where a real engine's mounts come from, and what its list answers to our filters."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest
from support.stack import Stack

from fastroute.controller.decide.container import Summary
from fastroute.controller.observe import lists
from fastroute.controller.observe.own_id import own_id


@pytest.mark.parametrize("more", [(), ("--network=none",), ("--ipc=shareable",), ("--ipc=container:{other}",)])
def test_a_process_in_a_container_finds_out_which(stack: Stack, tmp_path: Path, more: tuple[str, ...]) -> None:
    image = ("--no-healthcheck", "--entrypoint", "sleep", stack.image("foo"), "1000")
    with stack.container("--ipc=shareable", *image) as other:
        options = [word.format(other=other) for word in more]
        placed = "none" if "--network=none" in options else None
        with stack.container(*(word for word in options if word != "--network=none"), *image, network=placed) as one:
            file = tmp_path / "mountinfo"
            file.write_text(stack.docker("exec", one, "cat", "/proc/self/mountinfo"))
            assert own_id(file) == stack.inspect(one)["Id"]


def test_the_pieces_of_a_list_make_the_whole(stack: Stack) -> None:
    def ids(found: list[Summary]) -> set[str]:
        return {one.id for one in found}

    with docker.APIClient(version="auto", timeout=10) as client:
        pieces = [ids(lists._summaries(client, {"status": [state]})) for state in lists._STATES]
        ours = ids(lists._summaries(client, {"status": ["running"], "label": ["fastroute.key"]}))
        router = ids(lists._summaries(client, {"status": ["running"], "label": ["fastroute.role=router"]}))
    workers = {stack.inspect(name)["Id"] for name in stack.containers("foo", "bar")}
    everything = set().union(*pieces)
    assert workers | router <= everything
    assert workers <= ours
    assert stack.inspect(stack.containers("router")[0])["Id"] in router
    assert sum(map(len, pieces)) == len(everything)
