"""Certificates that live for seconds: renewed in time, and what is served is valid and whole at every moment."""

from __future__ import annotations

import time
from pathlib import Path

from support.certs_program import CertsProgram
from support.fake_ca import FakeCa, problem
from support.programs import Router, free_port

from fastroute.certs.store.x509 import Pair, check_pair

HOST = "foo.example.com"


def options(ca: FakeCa) -> tuple[str, ...]:
    here = f"127.0.0.1:{free_port()}"
    return ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)


def test_renewed_in_time_again_and_again_with_a_whole_pair_at_every_moment(tmp_path: Path) -> None:
    with (
        FakeCa(life=12) as ca,
        Router("--node", f"{HOST}=127.0.0.1:9") as router,
        CertsProgram([router], tmp_path, *options(ca)) as certs,
    ):
        certs.wait_state(HOST, "valid")
        serials = set()

        def look() -> bool:
            # As nginx opens them: one after the other, whatever happens in between.
            chain = (tmp_path / HOST / "fullchain.pem").read_bytes()
            certificate = check_pair(Pair(chain, (tmp_path / HOST / "privkey.pem").read_bytes()))
            assert certificate.valid(time.time())
            serials.add(certificate.serial)
            return len(serials) == 3

        certs.wait_for(look, "two renewals", 60)
        assert certs.state(HOST) in ("valid", "renewing")


def test_what_is_there_is_served_while_renewing_fails_and_renewed_when_the_ca_wants_it(tmp_path: Path) -> None:
    with FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        ca.window = (3.0, 3.0)
        with CertsProgram([router], tmp_path, *options(ca)) as certs:
            certs.wait_state(HOST, "valid")
            before = (tmp_path / HOST / "fullchain.pem").read_bytes()
            refusal = problem("rejectedIdentifier", "not today", 400)
            ca.break_at = lambda what, host: refusal if what == "order" else None
            row = certs.wait_for(lambda: (row := certs.hosts()[HOST])["reason"] and row, "the renewal fails")
            assert row["state"] == "renewing"
            assert "not today" in row["reason"]
            assert (tmp_path / HOST / "fullchain.pem").read_bytes() == before
            assert (tmp_path / HOST / "valid").exists()


def test_another_ca_is_asked_for_everything_at_once(tmp_path: Path) -> None:
    with FakeCa() as first, FakeCa() as second, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        with CertsProgram([router], tmp_path, *options(first)) as certs:
            certs.wait_state(HOST, "valid")
        with CertsProgram([router], tmp_path, *options(first)) as certs:
            certs.wait_state(HOST, "valid")
        with CertsProgram([router], tmp_path, *options(second)) as certs:
            certs.wait_for(lambda: second.count("certificate") == 1, "the second CA has signed")
        assert first.count("order") == 1
        assert (first.count("account"), second.count("account")) == (1, 1)
