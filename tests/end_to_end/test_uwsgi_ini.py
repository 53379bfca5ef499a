"""A uWSGI INI as people have it, unmodified, from its first line to what is left when the router has ended."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import stat
import sys
from pathlib import Path

import pytest
from support.programs import Program, free_port, listens, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Worker, answers

ROUTER = str(Path(sys.executable).with_name("fastroute-router"))


def open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


#: Only root may become somebody; anybody else stays who they are, as with uWSGI.  And nobody has to reach Python.
BECOMES = os.geteuid() == 0 and open_to_all(Path(sys.executable)) and open_to_all(Path(os.__file__))
USER, GROUP = (
    (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid) if BECOMES else (os.geteuid(), os.getegid())
)

SITE = """
[uwsgi]
; the router of all sites
plugins = fastrouter
master = true
set-placeholder = run=%drun/%n
shared-socket = %(run).front
shared-socket = 127.0.0.1:$(FRONT)
fastrouter = =1
fastrouter = =0
ini = :subscriptions
fastrouter-stats = %(run).stats
pidfile = %(run).pid
logto = %(run).log
uid = $(AS_USER)
gid = $(AS_GROUP)
vacuum = true
chmod-socket = 666

[subscriptions]
uwsgi = ignored
# vim: ft=dosini
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the router may write also as nobody."""
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "run", *list(tmp_path.parents)[:2], tmp_path):
        path.chmod(path.stat().st_mode | 0o007 if path.name == "run" else path.stat().st_mode | 0o005)
    return tmp_path


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def identity(pid: int) -> tuple[set[int], set[int]]:
    """User ids and group ids of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {int(number) for number in lines["Uid"].split()}, {int(number) for number in lines["Gid"].split()}


def test_a_whole_file_works_and_leaves_nothing_behind(folder: Path) -> None:
    front = free_port()
    text = SITE.replace("uwsgi = ignored", f"fastrouter-subscription-server = 127.0.0.1:{front}")
    (folder / "site.ini").write_text(text)
    run = folder / "run"
    environ = {"FRONT": str(front), "FASTROUTE_ADMIN": "none", "AS_USER": str(USER), "AS_GROUP": str(GROUP)}
    with Worker(answers(b"hello")) as worker, Program(ROUTER, str(folder / "site.ini"), env=environ) as router:
        log = run / "site.log"
        router.wait_for(lambda: log.exists() and "serves on" in log.read_text(), "the log says so")
        router.wait_for(lambda: len(children(router.process.pid)) == 2, "control and relay")
        assert int((run / "site.pid").read_text()) == router.process.pid
        send_datagram(front, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(front, "foo.com").body == b"hello", "the subscription counts")
        assert ask(str(run / "site.front"), "foo.com").body == b"hello"
        for pid in (router.process.pid, *children(router.process.pid)):
            assert identity(pid) == ({USER}, {GROUP})
        for name in ("site.front", "site.stats"):
            found = (run / name).stat()
            assert (found.st_uid, found.st_gid, stat.S_ISSOCK(found.st_mode)) == (USER, GROUP, True)
        assert router.stop(signal.SIGTERM) == 0
        assert sorted(path.name for path in run.iterdir()) == ["site.log"]
        assert router.output() == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pidfile = {folder}/missing/router.pid", "{folder}/missing/router.pid"),
        ("logto = {folder}/missing/router.log", "{folder}/missing/router.log"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_no_socket(folder: Path, line: str, said: str) -> None:
    (folder / "site.ini").write_text(f"[uwsgi]\nfastrouter = {folder}/front\n" + line.format(folder=folder) + "\n")
    environ = {"FASTROUTE_ADMIN": "none", "FASTROUTE_SUBSCRIPTION_SERVER": "none"}
    with Program(ROUTER, str(folder / "site.ini"), env=environ) as router:
        assert router.ended() == 1
        assert router.output().count("\n") == 1
        assert said.format(folder=folder) in router.output()
        assert "No such file" in router.output()
        assert not (folder / "front").exists()


@pytest.mark.parametrize("option", ["pidfile", "logto"])
def test_nothing_is_written_through_somebody_elses_link(folder: Path, option: str) -> None:
    """What root writes into /tmp must not end up in /etc."""
    precious = folder / "precious"
    precious.write_text("as it was")
    (folder / "site.run").symlink_to(precious)
    if option == "logto":
        if os.geteuid() != 0:
            pytest.skip("a link of our own is followed")
        os.lchown(folder / "site.run", 12345, 12345)
    (folder / "site.ini").write_text(f"[uwsgi]\nfastrouter = {folder}/front\n{option} = {folder}/site.run\n")
    with Program(ROUTER, str(folder / "site.ini"), env={"FASTROUTE_ADMIN": "none"}) as router:
        assert router.ended() == 1
        assert router.output().count("\n") == 1
        assert "symbolic link" in router.output()
        assert str(folder / "site.run") in router.output()
    assert precious.read_text() == "as it was"
    assert not (folder / "front").exists()


def test_a_router_whose_nodes_are_configured_is_never_cheap(folder: Path) -> None:
    with Worker(answers(b"hello")) as worker:
        (folder / "site.ini").write_text(
            f"[uwsgi]\nfastrouter = {folder}/front\nfastrouter-cheap = true\nfastrouter-to = {worker.address}\n"
        )
        with Program(ROUTER, str(folder / "site.ini"), env={"FASTROUTE_ADMIN": "none"}) as router:
            # Bound first, the path is there a moment before anybody listens.
            router.wait_for(lambda: listens(folder / "front"), "it listens")
            assert ask(str(folder / "front"), "any.com").body == b"hello"
