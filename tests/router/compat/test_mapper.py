"""Addresses made from keys: which socket a key means, and that no key leaves the directory."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.router.compat.mapper import MAX_REQUESTED, MAX_UNUSED_TIME, Mapper, mapper_of


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with sockets, and sockets around it that nobody may reach."""
    outside = tmp_path_factory.mktemp("m")
    inside = outside / "in"
    inside.mkdir()
    (inside / "file").write_text("")
    with ExitStack() as stack:
        for path in ("in/foo.com", "in/UPPER.com", "in/port.com:81", "secret", "insecret", "in/a.sock", "in/caf\xe9"):
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(
                os.fsencode(str(outside)) + b"/" + path.encode("latin-1")
            )
        yield inside


def mapped(mapper: Mapper, key: bytes, now: float = 0.0) -> str | None:
    pool = mapper.find(key, now)
    return next(iter(pool.nodes)) if pool else None


def by_base(home: Path) -> Mapper:
    return Mapper([f"{home}/", ""], random.Random(1))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"foo.com", "foo.com"),
        (b"FOO.com.:8080", "foo.com"),
        (b"UPPER.com", "UPPER.com"),
        (b"port.com:81", "port.com:81"),
        (b"port.com", None),
        (b"caf\xe9", "caf\xe9"),
        (b"nobody.com", None),
        (b"file", None),
        (b"x" * 200, None),
    ],
)
def test_a_key_means_the_socket_of_its_name(home: Path, key: bytes, name: str | None) -> None:
    assert mapped(by_base(home), key) == (f"{home}/{name}" if name else None)


@pytest.mark.parametrize(
    "key", [b"", b".", b"..", b"../secret", b"/etc", b"foo.com/../../secret", b"foo.com\0x", b"\0", b"..:80"]
)
def test_no_key_leaves_the_directory(home: Path, key: bytes) -> None:
    assert mapped(by_base(home), key) is None
    assert mapped(Mapper([f"{home}/", "/secret"], random.Random(1)), key) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.sampled_from([b".", b"..", b"/", b"\0", b"secret", b"foo.com", b":80", b"\xff", b"A"])).map(b"".join)
)
def test_whatever_the_key_its_socket_is_in_the_directory(home: Path, key: bytes) -> None:
    address = mapped(by_base(home), key)
    assert address is None or os.path.dirname(os.path.realpath(address.encode("latin-1"))) == os.fsencode(str(home))


def test_a_pattern_puts_the_key_wherever_it_says(home: Path) -> None:
    assert mapped(mapper_of(None, f"{home}/%s.sock", random.Random(1)), b"A") == f"{home}/a.sock"  # type: ignore[arg-type]
    ports = mapper_of(None, "127.0.0.1:80%s", random.Random(1))
    assert ports is not None
    assert (mapped(ports, b"80"), mapped(ports, b"x"), mapped(ports, b"999")) == ("127.0.0.1:8080", None, None)
    abstract = mapper_of("@ns-", None, random.Random(1))
    assert abstract is not None
    assert mapped(abstract, b"any") == "@ns-any"


def test_the_pattern_counts_before_the_base(home: Path) -> None:
    both = mapper_of(f"{home}/", f"{home}/%s.sock", random.Random(1))
    assert both is not None
    assert (mapped(both, b"a"), mapped(both, b"foo.com")) == (f"{home}/a.sock", None)


def test_a_socket_that_is_gone_is_missed_once_nobody_asked_for_a_while(tmp_path: Path) -> None:
    mapper = by_base(tmp_path)
    with socket.socket(socket.AF_UNIX) as worker:
        worker.bind(str(tmp_path / "foo.com"))
        pool = mapper.find(b"foo.com", 0.0)
    (tmp_path / "foo.com").unlink()
    mapper.expire(MAX_UNUSED_TIME - 1)
    assert mapper.find(b"foo.com", MAX_UNUSED_TIME - 1) is pool
    mapper.expire(MAX_UNUSED_TIME + 1)
    assert mapper.find(b"foo.com", MAX_UNUSED_TIME + 1) is pool
    mapper.expire(2 * MAX_UNUSED_TIME + 1)
    assert mapper.find(b"foo.com", 2 * MAX_UNUSED_TIME + 1) is None


def test_spellings_of_a_key_share_its_pool(home: Path) -> None:
    mapper = by_base(home)
    assert mapper.find(b"foo.com", 0.0) is mapper.find(b"FOO.com.:8080", 0.0)


def test_the_number_of_pools_is_bounded_and_the_one_used_last_stays() -> None:
    mapper = Mapper(["@", ""], random.Random(1))
    first, second = mapper.find(b"1", 0.0), mapper.find(b"2", 0.0)
    for number in range(3, MAX_REQUESTED + 1):
        mapper.find(b"%d" % number, 0.0)
    assert mapper.find(b"1", 1.0) is first
    mapper.find(b"one more", 1.0)
    assert mapper.find(b"1", 1.0) is first
    assert mapper.find(b"2", 1.0) is not second
