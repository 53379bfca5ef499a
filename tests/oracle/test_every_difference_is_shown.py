"""docs/differences.md and the tests of this folder name the same differences."""

from __future__ import annotations

import importlib
from pathlib import Path

from oracle.differences import EXERCISED, listed

ROOMS = ("balancing", "failures", "lookup", "mappers", "membership", "streams")


def test_each_listed_difference_is_exercised_and_each_exercised_one_is_listed() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"oracle.{file.stem}")
    assert sorted(EXERCISED) == sorted(listed())
