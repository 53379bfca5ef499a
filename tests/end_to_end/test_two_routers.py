"""docs/two-routers.md without containers: one nginx, two routers, and either of them may go."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Nginx, Router, UwsgiWorker, free_port
from support.survival import HttpLoad


@pytest.fixture
def folder() -> Iterator[Path]:
    # nginx's workers, another user, have to get there.
    folder = Path(tempfile.mkdtemp(prefix="fastroute-two-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, name: str, worker: UwsgiWorker) -> Router:
    router = Router.at(
        free_port(), free_port(), "--listen", str(folder / name), "--listen-mode", "0666", "--processes", "2",
        "--node", f"foo.com={worker.address}",
    )  # fmt: skip
    router.wait_line("serves on")
    return router


def test_each_may_be_replaced_while_the_other_serves(folder: Path) -> None:
    upstream = "".join(f"server unix:{folder}/{name} max_fails=0;" for name in "ab")
    http = f"upstream routers {{ {upstream} }} uwsgi_next_upstream error; uwsgi_next_upstream_tries 2;"
    with UwsgiWorker("one") as worker, Nginx("routers", http=http) as nginx:
        routers = {name: start(folder, name, worker) for name in "ab"}
        with (
            HttpLoad(nginx.port, "foo.com", rate=100) as gets,
            HttpLoad(nginx.port, "foo.com", rate=100, method="POST") as posts,
        ):
            for name in "abab":
                assert routers[name].stop() == 0
                gets.more(20)
                posts.more(20)
                routers[name].__exit__()
                routers[name] = start(folder, name, worker)
                gets.more(20)
        for router in routers.values():
            router.__exit__()
    assert set(gets.seen) | set(posts.seen) == {200}
