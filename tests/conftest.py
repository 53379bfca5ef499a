"""Hypothesis: one profile for every run; a busy machine is no failure.  And which build of the relay is tested."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import fastroute.router.relay

# A shell's job in the background has it ignored, and what a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("fastroute", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastroute")


def _build() -> str:
    relay = Path(fastroute.router.relay.__file__).parent
    return "compiled" if any(relay.glob("*.so")) else "pure"


def pytest_report_header() -> str:
    """Which fastroute this run tests."""
    return f"fastroute: {_build()} build in {Path(fastroute.router.relay.__file__).parents[2]}"


def pytest_configure() -> None:
    """A run that is meant for one build must not pass on the other one."""
    wanted = os.environ.get("FASTROUTE_TEST_BUILD", _build())
    if wanted != _build():
        raise pytest.UsageError(
            f"FASTROUTE_TEST_BUILD={wanted}, but the relay that is imported is the {_build()} build,"
            f" in {fastroute.router.relay.__file__}; scripts/test_compiled.sh runs the compiled one"
        )
