"""The router's lines in ``status -o wide``."""

from __future__ import annotations

from fastroute.ctl.router_lines import router_lines

ROUTER = {
    "version": "1.2",
    "requests": 7,
    "relays": [{"relay": 0, "alive": True, "lag": 3, "resets": 0}, {"relay": 1, "alive": False, "lag": 0, "resets": 1}],
    "subscriptions": {"results": {"applied": 5, "full": 1}, "refused": {"replay": 2}, "dropped": 9},
    "sources": [
        {"source": "docker-1", "instance": 1, "entries": 3, "repeated": 4, "silent": True, "last_seen": None},
    ],
}


def test_lag_results_reasons_drops_and_stale_sources_are_shown() -> None:
    said = "\n".join(line.plain for line in router_lines(ROUTER))
    assert "2 relays (changes not applied yet: 3, not running)" in said
    assert "subscriptions: 5 applied, 1 full" in said
    assert "refused: 2 replay; 9 dropped by the kernel" in said
    assert "source docker-1: 3 entries (4 asked again), heard - ago; SILENT, its nodes are stale" in said


def test_a_router_that_tells_less_is_shown_too() -> None:
    assert [line.plain for line in router_lines({"version": "1.1"})] == ["router: 1.1, 0 requests"]
