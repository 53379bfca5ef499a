"""Files on disk: whoever is killed at any instant leaves something that nginx can start with."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from support.nginx_states import desired, route

from fastroute.controller.nginx_mode.generations import Generations
from fastroute.controller.nginx_mode.nginx_config import AbsentContainer, ConfigState, NginxOptions, Rendered, render
from fastroute.controller.nginx_mode.user_templates import built_in

ONE = render(ConfigState(desired(route("foo.com", "10.0.0.1:80"))), built_in(), NginxOptions())
TWO = render(ConfigState(desired(route("foo.com", "10.0.0.2:80"), route("bar.com", ""))), built_in(), NginxOptions())
WORDS = render(
    ConfigState(desired(route("foo.com", "10.0.0.1:80")), {"foo.com": (AbsentContainer("a", "b", "c"),)}),
    built_in(),
    NginxOptions(),
)


class Killed(BaseException):
    """The process is gone here."""


def what_nginx_finds(top: Path) -> dict[str, str] | None:
    """The files that an nginx starting now would read, by name."""
    entry = top / "fastroute.conf"
    if not os.path.lexists(entry):
        return None
    text = entry.read_text()
    pattern = text.rpartition("include ")[2].rstrip(";\n")
    keys = Path(pattern).parent
    return {"fastroute.conf": text} | {f"keys/{path.name}": path.read_text() for path in sorted(keys.glob("*.conf"))}


def as_installed(rendered: Rendered, top: Path) -> dict[str, str]:
    return rendered.installed(str(top / "generations" / rendered.hash))


def test_what_is_swapped_in_is_what_nginx_finds_and_what_is_read_back(tmp_path: Path) -> None:
    files = Generations(str(tmp_path))
    assert files.current() is None
    files.swap(ONE)
    assert what_nginx_finds(tmp_path) == as_installed(ONE, tmp_path)
    current = files.current()
    assert current
    assert (dict(current.files), current.hash) == (dict(ONE.files), ONE.hash)
    files.write(TWO)
    assert what_nginx_finds(tmp_path) == as_installed(ONE, tmp_path)


def test_other_comments_are_written_in_place(tmp_path: Path) -> None:
    files = Generations(str(tmp_path))
    files.swap(ONE)
    files.swap(WORDS)
    assert what_nginx_finds(tmp_path) == as_installed(WORDS, tmp_path)
    assert len(list((tmp_path / "generations").iterdir())) == 1


def test_a_damaged_generation_is_not_taken_for_current_and_is_repaired(tmp_path: Path) -> None:
    files = Generations(str(tmp_path))
    files.swap(ONE)
    path = tmp_path / "generations" / ONE.hash / "keys" / "foo.com.conf"
    path.write_text("")
    (path.parent / "more.conf").write_text("x")
    assert files.current() is None
    files.swap(ONE)
    assert what_nginx_finds(tmp_path) == as_installed(ONE, tmp_path)


def test_old_generations_and_remains_go_what_nginx_uses_stays(tmp_path: Path) -> None:
    files = Generations(str(tmp_path))
    files.swap(ONE)
    files.write(TWO)
    (tmp_path / "generations" / ".dead.1").mkdir()
    (tmp_path / ".fastroute.conf.99").symlink_to("nowhere")
    (tmp_path / "own.conf").write_text("# yours")
    files.clean({TWO.hash})
    assert {path.name for path in (tmp_path / "generations").iterdir()} == {ONE.hash, TWO.hash}
    files.clean(set())
    assert {path.name for path in (tmp_path / "generations").iterdir()} == {ONE.hash}
    assert {path.name for path in tmp_path.iterdir()} == {"fastroute.conf", "generations", "own.conf"}


@pytest.mark.parametrize("then", [TWO, WORDS])
def test_killed_at_any_call_nginx_finds_the_one_or_the_other(tmp_path: Path, then: Rendered) -> None:
    """Each call that changes the file system, one after the other, is the one before which the controller dies."""
    for number in range(1, 100):
        top = tmp_path / str(number)
        Generations(str(top)).swap(ONE)
        before = what_nginx_finds(top)
        if survives(number, lambda top=top: Generations(str(top)).swap(then)):  # type: ignore[misc]
            break
        found = what_nginx_finds(top)
        wanted = as_installed(then, top)
        assert found in (before, wanted) or (then is WORDS and found and found.keys() == wanted.keys())
        current = Generations(str(top)).current()
        assert current
        assert current.hash in (ONE.hash, then.hash)
        Generations(str(top)).swap(then)
        assert what_nginx_finds(top) == wanted
    assert number > 3


def survives(number: int, call: Callable[[], object]) -> bool:
    """Whether ``call`` ends before its ``number``-th change of the file system."""
    left = number

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Killed
            return real(*arguments, **named)

        return wrapper

    with (
        mock.patch("os.rename", dying(os.rename)),
        mock.patch("os.open", dying(os.open)),
        mock.patch("os.symlink", dying(os.symlink)),
        mock.patch("os.mkdir", dying(os.mkdir)),
    ):
        try:
            call()
        except Killed:
            return False
    return True
