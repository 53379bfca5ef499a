"""Which lines of docs/differences.md are exercised: a scenario that expects a difference names its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"

#: Filled as the scenarios are imported: subject of a line -> names of scenarios.
EXERCISED: dict[str, list[str]] = {}

Test = TypeVar("Test", bound=Callable[..., object])


def differs(subject: str) -> Callable[[Test], Test]:
    """Marks a test that shows the difference with this subject."""

    def mark(test: Test) -> Test:
        EXERCISED.setdefault(subject, []).append(test.__name__)
        return test

    return mark


def listed() -> list[str]:
    """The subjects of docs/differences.md: the first cell of each row of its tables."""
    cells = [line.split("|")[1].strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    return [cell for cell in cells if cell not in ("subject", "---")]
