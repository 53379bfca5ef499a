"""Figures into the pages of docs/, between two marks that name their group."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def between_marks(page: str, group: str, text: str) -> str:
    """``page`` with ``text`` between the marks of ``group``; :class:`ValueError` where it has none."""
    begin, end = f"<!-- {group} -->", f"<!-- end of {group} -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"no marks {begin} and {end} in this order")
    return f"{before}{begin}\n{text}\n{end}{after}"


def publish(group: str, text: str, page: Path = DOCS / "benchmarks.md") -> None:
    """``text`` into the page."""
    page.write_text(between_marks(page.read_text(), group, text))
