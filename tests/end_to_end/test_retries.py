"""Four nodes, of which one serves: whoever asks gets its answer, however often the other three have failed before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.programs import Router
from support.uwsgi_client import ask
from support.workers import BlackHole, Script, Worker, answers, answers_http, refused_address


@pytest.mark.parametrize(("protocol", "script"), [("uwsgi", answers(b"good")), ("http", answers_http(b"good"))])
def test_the_one_node_that_serves_answers_every_request(tmp_path: Path, protocol: str, script: Script) -> None:
    with Worker(script) as good, BlackHole() as hole:
        nodes = [refused_address(), hole.address, str(tmp_path / "missing"), good.address]
        keys = [f"{number}.test" for number in range(len(nodes))]
        options = ["--connect-timeout", "1"]
        for first, key in enumerate(keys):
            for address in nodes[first:] + nodes[:first]:
                options += ["--node", f"{key}={address},protocol={protocol}"]
        with Router(*options) as router, ThreadPoolExecutor(len(keys)) as at_once:
            for _ in range(3):
                found = [*at_once.map(lambda key: ask(router.port, key), keys)]
                assert [answer.body for answer in found] == [b"good"] * len(keys), found
