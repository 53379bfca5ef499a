"""fastroute-ctl in this process, against canned admins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.json_server import JsonServer

from fastroute.ctl import main as program

Serve = Callable[[dict[str, Any]], JsonServer]


@dataclass(frozen=True)
class Ran:
    """What one call did."""

    code: int
    out: str
    err: str


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run ``fastroute-ctl`` with arguments.  Nobody answers at the default addresses."""
    monkeypatch.setenv("FASTROUTE_ROUTER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FASTROUTE_CONTROLLER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FASTROUTE_CERTS_URL", "http://127.0.0.1:1")

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            program.main(list(arguments))
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start canned admins."""
    started: list[JsonServer] = []

    def start(answers: dict[str, Any]) -> JsonServer:
        started.append(JsonServer(answers))
        return started[-1]

    yield start
    for server in started:
        server.close()
