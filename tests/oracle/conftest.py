"""Routers and workers that the scenarios share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from oracle.subjects import Named, Pair, both


@pytest.fixture(scope="session")
def plain() -> Iterator[Pair]:
    with both() as pair:
        yield pair


@pytest.fixture(scope="session")
def abc() -> Iterator[tuple[Named, Named, Named]]:
    """Three workers with one letter each."""
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(Named(name)) for name in "abc")
        yield a, b, c  # type: ignore[misc]
