"""Dropping root's rights: who a process is afterwards, and whose its sockets are."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = os.geteuid() == 0
NOBODYS = pwd.getpwuid(65534).pw_gid
PROGRAM = """
import os, sys
from fastroute.router.runtime import logs, privileges
logs.set_up("text", "info")
uid, gid = (None if word == "-" else int(word) for word in sys.argv[1:3])
if os.geteuid() == 0 and uid != gid:
    os.setgroups([1])
privileges.drop(uid, gid, sys.argv[3:])
print(os.getresuid(), os.getresgid(), os.getgroups())
"""


def dropped(uid: str, gid: str, *paths: Path) -> tuple[str, str]:
    argv = [sys.executable, "-c", PROGRAM, uid, gid, *map(str, paths)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("uid", "gid", "expected"),
    [
        ("65534", "65533", "(65534, 65534, 65534) (65533, 65533, 65533) []"),
        ("65534", "-", f"(65534, 65534, 65534) ({NOBODYS}, {NOBODYS}, {NOBODYS}) []"),
        ("0", "-", "(0, 0, 0) (0, 0, 0) []"),
        ("-", "65534", "(0, 0, 0) (65534, 65534, 65534) []"),
    ],
)
def test_root_becomes_who_it_is_told_with_no_further_group(tmp_path: Path, uid: str, gid: str, expected: str) -> None:
    socket = tmp_path / "front"
    socket.touch()
    said, log = dropped(uid, gid, socket, tmp_path / "gone")
    if not ROOT:
        assert "not root, so this stays" in log
        return
    assert said == expected
    owner = 0 if uid == "-" else int(uid)
    group = (NOBODYS if owner else 0) if gid == "-" else int(gid)
    assert (socket.stat().st_uid, socket.stat().st_gid) == (owner, group)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_user_of_no_known_group_does_not_stay_in_roots(tmp_path: Path) -> None:
    stranger = next(uid for uid in range(54_321, 65_000) if uid not in {one.pw_uid for one in pwd.getpwall()})
    file = tmp_path / "router.ini"
    file.write_text(f"[uwsgi]\nfastrouter = 127.0.0.1:0\nuid = {stranger}\n")
    command = [str(Path(sys.executable).with_name("fastroute-router")), str(file), "--admin", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, f"user {stranger} has no entry in /etc/passwd" in done.stderr) == (1, True), done.stderr
    assert "set gid too" in done.stderr


def test_nothing_changes_when_nothing_is_said(tmp_path: Path) -> None:
    before = f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"
    assert dropped("-", "-", tmp_path) == (before, "")
