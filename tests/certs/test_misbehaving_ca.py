"""A CA that is away, limits us or refuses: we wait as it says, through restarts, and keep what is served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.certs_program import CertsProgram
from support.fake_ca import FakeCa, problem
from support.programs import Router, free_port


@contextmanager
def scene(tmp_path: Path, ca: FakeCa | str, *hosts: str, options: tuple[str, ...] = ()) -> Iterator[CertsProgram]:
    nodes = [word for host in hosts or ("foo.example.com",) for word in ("--node", f"{host}=127.0.0.1:9")]
    directory = ca if isinstance(ca, str) else ca.directory
    # No nginx: the self-check asks us directly.
    here = f"127.0.0.1:{free_port()}"
    check = ("--challenge", here, "--self-check-address", here)
    with (
        Router(*nodes) as router,
        CertsProgram([router], tmp_path, "--agree-tos", "--directory", directory, *check, *options) as certs,
    ):
        yield certs
        assert "Traceback" not in certs.output()
        assert "PRIVATE" not in certs.output()


def test_the_fake_signs_when_it_is_asked_politely(tmp_path: Path) -> None:
    with FakeCa() as ca, scene(tmp_path, ca) as certs:
        assert certs.wait_state("foo.example.com", "valid")["issuer"] == "Fake CA"


def test_a_ca_that_is_away_costs_one_attempt_and_a_restart_none(tmp_path: Path) -> None:
    hosts = [f"h{number}.example.com" for number in range(40)]
    directory = f"http://127.0.0.1:{free_port()}/directory"
    with scene(tmp_path, directory, *hosts) as certs:
        row = certs.wait_state("h1.example.com", "failed")
        assert "can't be reached" in row["reason"] or "on hold" in row["reason"]
        certs.wait_line("no CA is asked before")
        assert (tmp_path / "h1.example.com/fullchain.pem").exists()
        assert certs.output().count("no CA is asked before") == 1
    with scene(tmp_path, directory, *hosts) as certs:
        certs.wait_for(lambda: "on hold until" in certs.hosts().get("h39.example.com", {}).get("reason", ""), "on hold")
        assert "asks for a certificate" not in certs.output()


def test_nobody_asks_before_the_ca_s_retry_after_is_over_not_even_after_a_restart(tmp_path: Path) -> None:
    hosts = [f"h{number}.example.com" for number in range(40)]
    with FakeCa() as ca:
        began = time.time()
        limit = problem("rateLimited", "too many new orders (300) from this account", 429, **{"Retry-After": "8"})
        ca.break_at = lambda what, host: limit if what == "order" and time.time() < began + 60 else None
        with scene(tmp_path, ca, *hosts) as certs:
            certs.wait_line("no CA is asked before")
            first = next(when for when, what, _ in ca.asked if what == "order")
        # Those that were under way at that moment; whoever had not asked yet did not.
        assert ca.count("order") <= 16
        before = ca.count("order")
        ca.break_at = lambda what, host: None
        with scene(tmp_path, ca, *hosts) as certs:
            certs.wait_for(lambda: ca.count("order") > before, "it goes on")
            after = sorted(when for when, what, _ in ca.asked if what == "order")[before]
            assert after >= first + 8
            certs.wait_for(lambda: {row["state"] for row in certs.hosts().values()} == {"valid"}, "all are valid", 60)


def test_a_limit_that_names_a_domain_holds_that_domain_alone(tmp_path: Path) -> None:
    text = 'too many certificates (50) already issued for "example.com" in the last 168h0m0s'
    limit = problem("rateLimited", text, 429, **{"Retry-After": "3600"})
    with FakeCa() as ca:
        ca.break_at = lambda what, host: limit if what == "order" and host.endswith("example.com") else None
        with scene(tmp_path, ca, "a.example.com", "b.other.com") as certs:
            certs.wait_state("b.other.com", "valid")
            assert "already issued" in certs.wait_state("a.example.com", "failed")["reason"]
            assert ca.count("order") == 2


def test_a_refusal_is_about_the_host_alone(tmp_path: Path) -> None:
    with FakeCa() as ca:
        refusal = problem("rejectedIdentifier", "policy forbids it", 400)
        ca.break_at = lambda what, host: refusal if what == "order" and host.startswith("bad") else None
        with scene(tmp_path, ca, "bad.example.com", "foo.example.com") as certs:
            assert "policy forbids it" in certs.wait_state("bad.example.com", "failed")["reason"]
            certs.wait_state("foo.example.com", "valid")
