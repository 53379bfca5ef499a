"""What others may have put in our files' place is refused, and said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastroute.router.runtime.own_files import NotOurs, doubt, open_log, open_own, read_own

ROOT = os.geteuid() == 0


def test_a_file_of_ours_is_opened_and_made(tmp_path: Path) -> None:
    for _ in range(2):
        os.close(open_own(tmp_path / "pid", os.O_WRONLY | os.O_CREAT, 0o644))
    assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT])
def test_links_pipes_and_folders_are_refused_at_once(tmp_path: Path, flags: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    os.link(tmp_path / "file", tmp_path / "hard")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("link", "symbolic"), ("dangling", "symbolic"), ("hard", "2 names"), ("pipe", "regular")):
        with pytest.raises(NotOurs, match=why) as error:
            open_own(tmp_path / name, flags)
        assert error.value.filename == str(tmp_path / name)
    assert not (tmp_path / "nothing").exists()


def test_what_others_may_write_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for mode, fine in ((0o600, True), (0o644, True), (0o660, True), (0o602, False), (0o666, False)):
        file.chmod(mode)
        if fine:
            assert read_own(file) == (b"x", file.stat().st_mtime)
        else:
            with pytest.raises(NotOurs, match=f"mode {mode:o}"):
                read_own(file)


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_what_a_foreign_group_may_write_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.chown(file, -1, 12345)
    file.chmod(0o640)
    assert read_own(file)[0] == b""
    file.chmod(0o660)
    with pytest.raises(NotOurs, match="mode 660"):
        read_own(file)


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_unless_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.chown(file, 12345, 12345)
    with pytest.raises(NotOurs, match="user 12345's, and one of root expected"):
        read_own(file)
    os.close(open_own(file, os.O_WRONLY, users=[12345]))


def test_logs_follow_links_of_ours_and_of_root_only(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("log")
    for name in ("link", "log"):
        with open(open_log(str(tmp_path / name)), "w") as log:
            log.write(f"by {name}\n")
    assert (tmp_path / "log").read_text() == "by link\nby log\n"
    if ROOT:
        os.lchown(tmp_path / "link", 12345, 12345)
        with pytest.raises(NotOurs, match="of user 12345"):
            open_log(str(tmp_path / "link"))


def test_a_directory_of_others_is_doubted(tmp_path: Path) -> None:
    assert doubt(tmp_path) == doubt(tmp_path / "none") == ""
    tmp_path.chmod(0o1777)
    assert "mode 1777" in doubt(tmp_path)
    if ROOT:
        tmp_path.chmod(0o700)
        os.chown(tmp_path, 12345, 12345)
        assert "user 12345's" in doubt(tmp_path)
