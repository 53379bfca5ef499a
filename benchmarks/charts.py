"""Bars as SVG, drawn by hand: figures for docs/benchmarks.md that any browser shows, light or dark.

One row is a label and stacked segments; rows of one group stand together under its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.scenarios import Result

BARS, LEFT, RIGHT, BAR, GAP, HEAD = 435, 235, 90, 16, 5, 26
#: The width of a letter, on average.
LETTER = 6.4
COLOURS = ("#2f6f9f", "#9cc3de")


@dataclass(frozen=True, slots=True)
class Row:
    """One bar."""

    group: str
    label: str
    segments: tuple[float, ...]

    @property
    def total(self) -> float:
        """Of all segments."""
        return sum(self.segments)


def bars(title: str, unit: str, legend: tuple[str, ...], rows: list[Row], digits: int) -> str:
    """The chart as one SVG document."""
    longest = max((row.total for row in rows), default=0.0) or 1.0
    scale = BARS / longest
    left = max(LEFT, round(LETTER * max((len(row.label) for row in rows), default=0)) + 16)
    parts, y, group = list[str](), HEAD + 28, ""
    for row in rows:
        if row.group != group:
            group = row.group
            y += 20
            parts.append(f'<text x="8" y="{y - 6}" class="group">{escape(group)}</text>')
        parts.append(f'<text x="{left - 8}" y="{y + 12}" class="label">{escape(row.label)}</text>')
        x = float(left)
        for segment, colour in zip(row.segments, COLOURS, strict=False):
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{segment * scale:.1f}" height="{BAR}" fill="{colour}"/>')
            x += segment * scale
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 12}">{row.total:.{digits}f}</text>')
        y += BAR + GAP
    return _document(title, unit, legend, parts, (left, y + 8))


def _document(title: str, unit: str, legend: tuple[str, ...], parts: list[str], size: tuple[int, int]) -> str:
    left, height = size
    width = left + BARS + RIGHT
    keys = "".join(
        f'<rect x="{left + 90 * number}" y="{HEAD + 8}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{left + 18 + 90 * number}" y="{HEAD + 18}">{escape(name)}</text>'
        for number, (name, colour) in enumerate(zip(legend, COLOURS, strict=False))
    )
    style = (
        "text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.group{font-weight:bold}"
        ".label{text-anchor:end}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="8" y="22" class="title">{escape(title)} ({escape(unit)})</text>{keys}{"".join(parts)}</svg>\n'
    )


def draw(results: list[Result]) -> dict[str, str]:
    """File name to SVG: CPU per request, CPU per GB, system calls per request."""
    plain = [result for result in results if result.unit == "request"]
    moved = [result for result in results if result.unit == "GB"]
    files = {
        "requests.svg": bars("Router CPU per request", "microseconds", ("user", "system"), _cpu(plain, 1e6), 0),
        "bulk.svg": bars("Router CPU per GB", "seconds", ("user", "system"), _cpu(moved, 1.0), 2),
        "calls.svg": bars("System calls per request", "all processes", (), _calls(results), 1),
    }
    return {name: text for name, text in files.items() if "<rect x=" in text}


def _cpu(results: list[Result], scale: float) -> list[Row]:
    return [
        Row(result.name, subject, _split(result, subject, scale))
        for result in results
        for subject in result.rounds
        if result.memory[subject]
    ]


def _split(result: Result, subject: str, scale: float) -> tuple[float, ...]:
    """User and system, adding up to the table's CPU: medians of parts do not add up to the median of their sum."""
    parts = [result.median(subject, name) for name in ("user", "system")]
    whole = result.median(subject, "cpu") * scale / (sum(parts) or 1.0)
    return tuple(part * whole for part in parts)


def _calls(results: list[Result]) -> list[Row]:
    return [
        Row(result.name, subject, (sum(calls.values()),))
        for result in results
        for subject, calls in result.calls.items()
    ]
