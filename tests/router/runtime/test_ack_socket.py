"""Where a unix router answers an announcer."""

from __future__ import annotations

import socket
from pathlib import Path

from fastroute.router.runtime.ack_socket import ACK_PREFIX, bind_for_acks


def test_answers_come_beside_the_routers_socket_or_where_one_says(tmp_path: Path) -> None:
    router, own = tmp_path / "router", tmp_path / "own"
    router.mkdir()
    own.mkdir()
    for directory, expected in ((None, router), (own, own)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            path = bind_for_acks(sock, str(router / "subscriptions.sock"), directory)
            assert path is not None
            assert (path.parent, path.name.startswith(ACK_PREFIX)) == (expected, True)


def test_what_dead_announcers_left_is_removed_where_one_binds(tmp_path: Path) -> None:
    left = tmp_path / f"{ACK_PREFIX}dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(left))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        bind_for_acks(sock, "/run/router/subscriptions.sock", tmp_path)
        assert not left.exists()
