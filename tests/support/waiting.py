"""Waiting for a condition, with a deadline: the one way in which tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

#: Seconds; long, because a machine may be busy, and only a test that fails waits for all of it.
DEADLINE = 30.0
_LOOK_EVERY = 0.005

Value = TypeVar("Value")


def wait_for(condition: Callable[..., Value], what: str | Callable[[], str] = "", seconds: float = DEADLINE) -> Value:
    """The first true value of ``condition``; fails with ``what`` (made up then) after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(_LOOK_EVERY)
    return value
