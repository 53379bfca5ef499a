"""Listening sockets: what addresses mean, whose paths are replaced, and what is said when it can't be."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.programs import wait_for

from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime import listen, socket_paths
from fastroute.router.runtime.listen import Listener, ListenError

SOMAXCONN = int(Path("/proc/sys/net/core/somaxconn").read_text())


@contextmanager
def opened(listeners: list[Listener]) -> Iterator[list[Listener]]:
    try:
        yield listeners
    finally:
        listen.close(listeners)


def streams(*texts: str, mode: int = 0o660) -> list[Listener]:
    return listen.open_front([parse_address(text) for text in texts], mode)


def datagrams(*texts: str, mode: int = 0o660) -> list[Listener]:
    return listen.open_datagrams([parse_address(text) for text in texts], mode)


Opener = Callable[..., list[Listener]]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def backlog_of(sock: socket.socket) -> int:
    # tcp_info of a listening socket: tcpi_sacked (byte offset 28) is its backlog.
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    return int.from_bytes(info[28:32], sys.byteorder)


def test_a_tcp_front_waits_for_bytes_with_the_longest_queue_and_shares_its_port_with_nobody() -> None:
    with opened(streams("127.0.0.1:0")) as (front,):
        assert backlog_of(front.socket) == SOMAXCONN
        assert front.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
        assert front.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        assert front.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert not front.socket.get_inheritable()
        assert not front.socket.getblocking()
        assert front.name == f"127.0.0.1:{front.socket.getsockname()[1]}"
        with pytest.raises(ListenError, match=rf"cannot listen on {front.name}: .*another process listens there"):
            streams(front.name)


def test_a_port_alone_means_every_interface_in_every_family_with_one_port() -> None:
    with opened(streams(":0")) as listeners:
        families = [one.socket.family for one in listeners]
        assert families == [socket.AF_INET, socket.AF_INET6] if has_ipv6() else [socket.AF_INET]
        assert len({one.socket.getsockname()[1] for one in listeners}) == 1
        with socket.create_connection(("127.0.0.1", listeners[0].socket.getsockname()[1]), 5):
            pass


def test_ipv4_senders_look_like_ipv4_on_a_port_alone() -> None:
    with opened(datagrams(":0")) as listeners, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", listeners[0].socket.getsockname()[1]))
        listeners[0].socket.settimeout(5)
        assert listeners[0].socket.recvfrom(10)[1][0] == "127.0.0.1"


def test_ipv4_and_ipv6_can_be_given_the_same_port() -> None:
    if not has_ipv6():
        return
    with opened(streams("0.0.0.0:0")) as (four,):
        port = four.socket.getsockname()[1]
        with opened(streams(f"[::]:{port}")) as (six,):
            assert six.name == f"[::]:{port}"


def test_a_name_that_does_not_resolve_is_said() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on nowhere\.invalid:1: nowhere\.invalid does not resolve"):
        streams("nowhere.invalid:1")


def test_udp_ports_are_not_shared_and_have_a_large_buffer() -> None:
    with opened(datagrams("127.0.0.1:0")) as (server,):
        # The kernel doubles what was asked for; without the right to more, rmem_max is the limit.
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 2 * min(
            listen.RECEIVE_BUFFER, int(Path("/proc/sys/net/core/rmem_max").read_text())
        )
        with pytest.raises(ListenError, match="another process listens there"):
            datagrams(server.name)


@pytest.mark.parametrize(("mode", "opener"), [(0o660, streams), (0o666, streams), (0o600, datagrams)])
def test_a_unix_socket_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, opener: Opener) -> None:
    path = tmp_path / "front.sock"
    before = os.umask(0o077)
    try:
        with opened(opener(str(path), mode=mode)):
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


@pytest.mark.parametrize("opener", [streams, datagrams])
def test_a_socket_left_by_a_dead_process_is_replaced(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "front.sock"
    listen.close(opener(str(path)))
    assert path.is_socket()
    with opened(opener(str(path))):
        pass


@pytest.mark.parametrize("first", [streams, datagrams])
@pytest.mark.parametrize("second", [streams, datagrams])
def test_a_socket_in_use_is_never_replaced(tmp_path: Path, first: type[streams], second: type[streams]) -> None:  # type: ignore[valid-type]
    path = tmp_path / "front.sock"
    with opened(first(str(path))):  # type: ignore[misc]
        inode = path.stat().st_ino
        with pytest.raises(ListenError, match="another process listens there"):
            second(str(path))  # type: ignore[misc]
        assert path.stat().st_ino == inode


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="it exists and is no socket"):
        streams(str(path))
    assert path.read_text() == "data"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=rf"the directory '{tmp_path}/no' does not exist"):
        streams(f"{tmp_path}/no/front.sock")


def test_one_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ListenError):
        streams(f"{tmp_path}/front.sock", f"{tmp_path}/no/front.sock")
    assert list(tmp_path.iterdir()) == []


def test_only_the_own_path_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    with opened(streams(str(path))) as first:
        path.unlink()
        with opened(streams(str(path))) as second:
            listen.remove_paths(first)
            assert path.is_socket()
            listen.remove_paths(second)
            assert not path.exists()


def test_an_abstract_socket_listens_and_shows_its_name() -> None:
    name = f"@fastroute-test-{os.getpid()}"
    with opened(streams(name)) as (front,):
        assert front.name == name
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + name[1:])
        with pytest.raises(ListenError, match="another process listens there"):
            streams(name)


def test_an_inherited_socket_is_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        (front,) = streams(f"fd://{passed.fileno()}")
        assert front.socket.getsockname() == passed.getsockname()
        assert backlog_of(front.socket) == SOMAXCONN
        front.socket.detach()


def test_an_inherited_descriptor_must_be_a_socket_of_the_right_kind(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(ListenError, match="no socket was passed there"):
        streams(f"fd://{file.fileno()}")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        pytest.raises(ListenError, match="a stream socket expected"),
    ):
        streams(f"fd://{datagram.fileno()}")


def test_with_systemd_the_numbers_that_it_passed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(ListenError, match=r"fd://9: systemd passed fd://3 to fd://4"):
        streams("fd://9")


def descriptors_of(path: Path) -> int:
    """How many descriptors this process has on ``path``."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(link) and os.path.samefile(link, path) for link in links)


def test_of_two_that_start_at_once_one_gets_a_stale_path(tmp_path: Path) -> None:
    path = tmp_path / "front.sock"
    listen.close(streams(str(path)))
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(streams, str(path))
        try:
            wait_for(lambda: descriptors_of(tmp_path) == 2, "the second to wait for the directory")
            # What the first does while it holds the directory.
            path.unlink()
            first = socket.socket(socket.AF_UNIX)
            first.bind(str(path))
            first.listen()
        finally:
            os.close(directory)
        with first, pytest.raises(ListenError, match="another process listens there"):
            second.result(timeout=10)


def test_a_directory_that_stays_locked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_paths, "LOCK_TIMEOUT", 0.0)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(ListenError, match="another process keeps its directory locked"):
            streams(f"{tmp_path}/front.sock")
    finally:
        os.close(directory)


def test_a_path_that_is_taken_over_never_lacks_a_socket(tmp_path: Path) -> None:
    place = parse_address(str(tmp_path / "router.sock"))
    (old,) = listen.open_streams([place], 0o660)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(tmp_path / "router.sock"))
    with pytest.raises(ListenError, match="another process listens there"):
        listen.open_streams([place], 0o660)
    (new,) = listen.open_streams([place], 0o660, replace=True)
    assert new.name == old.name == str(tmp_path / "router.sock")
    after = socket.socket(socket.AF_UNIX)
    after.connect(str(tmp_path / "router.sock"))
    with waiting, after, old.socket, new.socket:
        # Each keeps what came to it, and the end of the old one leaves the path to the new one.
        old.socket.accept()[0].close()
        new.socket.accept()[0].close()
        old.remove_path()
        assert [path.name for path in tmp_path.iterdir()] == ["router.sock"]
        new.remove_path()
        assert not list(tmp_path.iterdir())
