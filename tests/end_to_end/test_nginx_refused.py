"""nginx mode: keys that a real nginx refuses take only themselves out, however many there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.nginx_mode import ServedNginx, Sink
from support.nginx_states import route
from support.programs import wait_for
from support.workers import Worker, answers


@pytest.fixture
def nginx() -> Iterator[ServedNginx]:
    with ServedNginx() as running:
        (running.home / "templates" / "includes").mkdir()
        yield running


@pytest.fixture
def sink(nginx: ServedNginx) -> Iterator[Sink]:
    running = Sink(nginx)
    yield running
    running.close()


def test_thirty_refused_keys_hold_nobody_up(nginx: ServedNginx, sink: Sink) -> None:
    broken = [f"broken{number}.com" for number in range(30)]
    for key in broken:
        (nginx.home / "templates" / "includes" / f"{key}.conf").write_text("zonk on;\n")
    with Worker(answers(b"first")) as first, Worker(answers(b"second")) as second:
        sink.settle(route("foo.com", first.address))
        sink.reread()
        evil = [route(key, "127.0.0.1:9", "evil") for key in broken]
        sink.apply(route("foo.com", second.address), *evil, route("bar.com", first.address, "new"))
        both = {("foo.com", second.address, "web-1@1"), ("bar.com", first.address, "new@1")}
        wait_for(lambda: both <= sink.serves(), "who is not refused is served")
        assert nginx.get("foo.com").text == "second"
        assert nginx.get("bar.com").text == "first"
        assert not sink.applier.error
        wait_for(
            lambda: not sink.applier.untried and set(sink.applier.quarantined) == set(broken),
            "all refused ones are known",
        )
        assert all("unknown directive" in reason for reason in sink.applier.quarantined.values())
        assert {nginx.get(key).status for key in broken} == {503}
        assert nginx.starts() == ""
        tests = sink.applier.stats.tests
        sink.apply(route("foo.com", first.address), *evil, route("bar.com", first.address, "new"))
        wait_for(lambda: ("foo.com", first.address, "web-1@1") in sink.serves(), "a change after that")
        assert sink.applier.stats.tests == tests + 1, "what is known to be refused is not tried again"


def test_a_path_that_an_include_has_is_the_includes(nginx: ServedNginx, sink: Sink) -> None:
    paths = [f"/p{number}" for number in range(8)]
    own = "".join(f'location = {path} {{ return 200 "include\\n"; }}\n' for path in paths)
    (nginx.home / "templates" / "includes" / "foo.com.conf").write_text(own)
    with Worker(answers(b"worker")) as worker:
        sink.reread()
        sink.settle(route("foo.com", worker.address))
        evil = [route(f"foo.com{path}", worker.address, "evil") for path in paths]
        sink.apply(route("foo.com", worker.address), route("bar.com", worker.address), *evil)
        wait_for(lambda: ("bar.com", worker.address, "web-1@1") in sink.serves(), "others are served")
        assert nginx.get("foo.com").text == "worker"
        assert nginx.get("foo.com", "/p1").text == "include\n"
        wait_for(lambda: len(sink.applier.quarantined) == len(paths), "the keys are set aside")
        assert nginx.starts() == ""
