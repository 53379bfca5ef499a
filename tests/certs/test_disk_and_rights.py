"""A full disk, a clock that is set, and the rights that the stack gives: each on the real program."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certs_program import CertsProgram
from support.fake_ca import FakeCa
from support.programs import Nginx, Router, free_port

HOST = "foo.example.com"


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_with_a_full_disk_no_ca_is_asked_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        filler = disk / ".filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * (124 << 10))
        here = f"127.0.0.1:{free_port()}"
        options = ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)
        with CertsProgram([router], disk, *options) as certs:
            certs.wait_line("No space left on device")
            assert "No space left" in certs.wait_state(HOST, "failed")["reason"]
            assert ca.count("order") == 0
            assert certs.get("/healthz") == "ok\n"
            filler.unlink()
            certs.wait_state(HOST, "valid", 60)
            assert "Traceback" not in certs.output()


def test_through_a_challenge_server_with_unix_sockets_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    challenge, subscriptions = tmp_path / "run/challenge.sock", tmp_path / "run/subscriptions.sock"
    status, admin = tmp_path / "run/status.sock", tmp_path / "run/admin.sock"
    options = (
        "--challenge-server", str(subscriptions), "--challenge-node", str(challenge), "--admin-read", str(status),
        "--node", f"{HOST}=127.0.0.1:9,tls=redirect",
    )  # fmt: skip
    with FakeCa() as ca, Router(*options) as router, Nginx(f"127.0.0.1:{router.port}") as nginx:
        environment = {
            "FASTROUTE_ROUTER": str(subscriptions),
            "FASTROUTE_ROUTER_URL": f"http+unix://{status}",
            "FASTROUTE_CONTROLLER_URL": "none",
            "FASTROUTE_CHALLENGE": str(challenge),
            "FASTROUTE_ADMIN": str(admin),
            "FASTROUTE_CERTIFICATES": str(tmp_path / "certificates"),
            "FASTROUTE_AGREE_TOS": "true",
            "FASTROUTE_EMAIL": "",
            "FASTROUTE_DIRECTORY": ca.directory,
            "FASTROUTE_SELF_CHECK_ADDRESS": f"127.0.0.1:{nginx.port}",
        }
        with CertsProgram.bare(environment) as certs:
            certs.wait_for((tmp_path / "certificates" / ".redirect" / HOST).exists, "the mark for nginx")
            assert (tmp_path / "certificates" / HOST / "valid").exists()
            assert certs.stop() == 0
        assert not challenge.exists()
        assert "refused" not in router.output()


def test_a_pair_that_somebody_removes_is_replaced_and_one_that_somebody_puts_there_is_taken(tmp_path: Path) -> None:
    nodes = ("--node", f"{HOST}=127.0.0.1:9")
    with Router(*nodes) as router, CertsProgram([router], tmp_path) as certs:
        certs.wait_state(HOST, "self-signed")
        key = (tmp_path / HOST / "privkey.pem").read_bytes()
        pair = (tmp_path / HOST).resolve()
        (tmp_path / HOST).unlink()
        pair.rename(tmp_path / "mine")
        certs.wait_for((tmp_path / HOST / "privkey.pem").exists, "a new pair", 40)
        assert (tmp_path / HOST / "privkey.pem").read_bytes() != key
        (tmp_path / HOST).unlink()
        (tmp_path / "mine").rename(tmp_path / HOST)
        certs.wait_for(lambda: "somebody else" in certs.hosts()[HOST]["reason"], "it is taken as it is")


def test_a_state_from_the_future_holds_nobody_for_years(tmp_path: Path) -> None:
    state = tmp_path / ".state"
    state.mkdir(0o700)
    future = 2_900_000_000.0
    with FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        ahead = {"host": HOST, "attempted_at": future, "next_attempt": future + 1, "wanted_at": future, "failures": 1}
        held = {"directory": ca.directory, "failures": 1, "failed_at": future, "held_until": future + 1.0}
        (state / "state.json").write_text(json.dumps({"hosts": [ahead], "ca": held}))
        here = f"127.0.0.1:{free_port()}"
        options = ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)
        with CertsProgram([router], tmp_path, *options) as certs:
            certs.wait_state(HOST, "valid")


def test_a_program_without_rights_in_its_directory_says_so_and_ends_with_2(tmp_path: Path) -> None:
    with CertsProgram([], Path("/proc/1/nothing")) as certs:
        assert certs.ended() == 2
        assert "--certificates: '/proc/1/nothing': a directory that can be written expected" in certs.output()
