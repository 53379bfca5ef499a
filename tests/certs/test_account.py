"""What the CA is told besides orders: who we are, and which certificate a new one replaces."""

from __future__ import annotations

from pathlib import Path

from support.certs_program import CertsProgram
from support.fake_ca import FakeCa, problem
from support.programs import Router, free_port

from fastroute.certs.store.x509 import certificate_id

HOST, OTHER = "foo.example.com", "bar.example.com"


def options(ca: FakeCa, *more: str) -> tuple[str, ...]:
    here = f"127.0.0.1:{free_port()}"
    return ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here, *more)


def node(host: str) -> tuple[str, str]:
    return ("--node", f"{host}=127.0.0.1:9")


def test_another_email_changes_the_account(tmp_path: Path) -> None:
    with FakeCa() as ca:
        for email in ("a@example.com", "b@example.com"):
            host = f"host-{len(ca.orders)}.example.com"
            with (
                Router(*node(host)) as router,
                CertsProgram([router], tmp_path, *options(ca, "--email", email)) as certs,
            ):
                certs.wait_state(host, "valid")
        assert ca.contacts == [["mailto:a@example.com"], ["mailto:b@example.com"]]


def test_a_contact_that_the_ca_refuses_costs_no_certificate(tmp_path: Path) -> None:
    with FakeCa() as ca:
        with Router(*node(HOST)) as router, CertsProgram([router], tmp_path, *options(ca)) as certs:
            certs.wait_state(HOST, "valid")
        refusal = problem("malformed", "no such mailbox", 400)
        ca.break_at = lambda what, host: refusal if what == "account" else None
        options_ = options(ca, "--email", "b@example.com")
        with Router(*node(OTHER)) as router, CertsProgram([router], tmp_path, *options_) as certs:
            certs.wait_state(OTHER, "valid")
            assert "the contact of our account stays as it was: the CA says: no such mailbox" in certs.output()


def test_a_renewal_says_what_it_replaces_and_is_a_plain_order_where_the_ca_does_not_want_that(tmp_path: Path) -> None:
    already = problem("alreadyReplaced", "another order replaces it", 409)
    with FakeCa() as ca, Router(*node(HOST)) as router:
        ca.window = (2.0, 2.0)
        ca.break_at = lambda what, host: already if what == "order" and ca.count("order") == 3 else None
        with CertsProgram([router], tmp_path, *options(ca)) as certs:
            certs.wait_state(HOST, "valid")
            first = certificate_id((tmp_path / HOST / "fullchain.pem").read_bytes())
            certs.wait_for(lambda: len(ca.replaced) >= 3, "it is renewed twice", 60)
    assert first
    assert ca.replaced[:3] == [None, first, None]
