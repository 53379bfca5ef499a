"""Killed at any step of an order and started again, the program goes on, with one order for one certificate."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from support.certs_program import CertsProgram
from support.fake_ca import Answer, FakeCa
from support.programs import Router, free_port, wait_for

HOST = "foo.example.com"


@pytest.mark.parametrize("step", ["account", "order", "authz", "challenge", "finalize", "certificate"])
def test_killed_at_each_step_and_started_again(tmp_path: Path, step: str) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stop_at(what: str, host: str) -> Answer | None:
        if what == step and not go_on.is_set():
            reached.set()
            go_on.wait(20)
        return None

    with FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        ca.break_at = stop_at
        here = f"127.0.0.1:{free_port()}"
        options = ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)
        with CertsProgram([router], tmp_path, *options) as certs:
            certs.wait_for(reached.is_set, f"the CA is asked for {step}")
            certs.stop(signal.SIGKILL)
        go_on.set()
        with CertsProgram([router], tmp_path, *options) as certs:
            certs.wait_state(HOST, "valid")
            assert "Traceback" not in certs.output()
        # The CA had taken the order when we were killed before its answer: that one is lost, any other is gone on with.
        assert ca.count("order") == (2 if step == "order" else 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_circles_it_does_not_ask_in_circles(tmp_path: Path, number: signal.Signals) -> None:
    reached, over = threading.Event(), threading.Event()

    def hang(what: str, host: str) -> Answer | None:
        if what == "order":
            reached.set()
            # Longer than the program takes to end: an answer after all would be an order to go on with.
            over.wait(60)
        return None

    with FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        ca.break_at = hang
        here = f"127.0.0.1:{free_port()}"
        options = ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)
        for _ in range(2):
            reached.clear()
            with CertsProgram([router], tmp_path, *options) as certs:
                certs.wait_for(reached.is_set, "the CA is asked for an order")
                certs.stop(number)
        for _ in range(3):
            with CertsProgram([router], tmp_path, *options) as certs:
                row = certs.wait_state(HOST, "failed")
                assert "several times in a row" in row["reason"]
                certs.stop(number)
        assert ca.count("order") == 2
        over.set()


def test_ended_in_the_middle_it_goes_on_later(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def pending(what: str, host: str) -> Answer | None:
        if what == "finalize" and not go_on.is_set():
            reached.set()
            go_on.wait(20)
        return None

    with FakeCa() as ca, Router("--node", f"{HOST}=127.0.0.1:9") as router:
        ca.break_at = pending
        here = f"127.0.0.1:{free_port()}"
        options = ("--agree-tos", "--directory", ca.directory, "--challenge", here, "--self-check-address", here)
        with CertsProgram([router], tmp_path, *options) as certs:
            certs.wait_for(reached.is_set, "the CA is asked to sign")
            certs.send_signal(signal.SIGTERM)
            go_on.set()
            assert certs.ended() == 0
        with CertsProgram([router], tmp_path, *options) as certs:
            certs.wait_state(HOST, "valid")
        assert ca.count("order") == 1


def test_two_of_us_in_one_directory_are_refused(tmp_path: Path) -> None:
    with Router() as router, CertsProgram([router], tmp_path) as first:
        wait_for(lambda: (tmp_path / ".state/lock").exists(), first.output)
        first.wait_line("no CA is asked")
        with CertsProgram([router], tmp_path) as second:
            assert second.ended() == 1
            assert "another fastroute-certs works there" in second.output()
