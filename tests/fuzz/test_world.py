"""The ground of the relay's fuzzer sees what it is there to see."""

from __future__ import annotations

import pytest
from fuzz.relay_script import run_relay

from fastroute.router.relay import request_events
from fastroute.router.relay.request import Request


def test_a_fault_of_the_relay_reaches_the_fuzzer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_request: Request, _packet: bytes, _end: int) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(request_events, "on_packet", fault)
    with pytest.raises(RuntimeError, match="boom"):
        run_relay(bytes(range(100)))
