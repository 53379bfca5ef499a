"""The state of a key in a relay: control's words, and which clients maintenance lets pass."""

from __future__ import annotations

import pytest

from fastroute.router.protocol import key_state
from fastroute.router.relay import key_queue, serving_state
from fastroute.router.relay.serving_state import MAINTENANCE, NORMAL, PAUSED, ServingState


def test_the_words_are_those_of_control_which_the_relay_does_not_import() -> None:
    theirs = (key_state.SERVING, key_state.PAUSED, key_state.MAINTENANCE)
    assert theirs == (serving_state.SERVING, serving_state.PAUSED, serving_state.MAINTENANCE)
    assert key_queue.MAX_PAUSE == key_state.PAUSE_MAX


@pytest.mark.parametrize(
    ("address", "passes"),
    [
        (b"192.0.2.7", True), (b"192.0.3.7", False), (b"::ffff:192.0.2.7", True), (b"2001:db8::1", True),
        (b"2001:db9::1", False), (b"", False), (b"unix:", False), (b"192.0.2.7:80", False), (b"\xff", False),
    ],
)  # fmt: skip
def test_maintenance_lets_the_networks_pass_that_it_names(address: bytes, passes: bool) -> None:
    state = ServingState(MAINTENANCE, "", ["192.0.2.0/24", "2001:db8::/32"])
    assert state.lets_pass(address) is passes
    assert not ServingState(MAINTENANCE).lets_pass(address)
    assert NORMAL.lets_pass(address)
    assert ServingState(PAUSED).lets_pass(address)


@pytest.mark.parametrize(("name", "allow"), [("closed", []), (MAINTENANCE, ["192.0.2.0/99"]), (MAINTENANCE, ["here"])])
def test_what_is_no_state_is_refused(name: str, allow: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected|appear"):
        ServingState(name, "", allow)
