"""The charts of make bench-peers.  Pure: results in, SVG out."""

from __future__ import annotations

import statistics

from benchmarks.charts import Row, bars
from benchmarks.peers.keys import KeysResult
from benchmarks.peers.outcomes import DeploysResult
from benchmarks.scenarios import Result


def draw_deploys(found: DeploysResult) -> str:
    """Failed requests by subject, in all scenarios together: GET, and POST, which no proxy may simply send again."""
    rows = []
    for subject in found.settings:
        if subject in found.fixed:
            continue
        failed = posts = 0.0
        for by_subject in found.figures.values():
            rounds = by_subject.get(subject, [])
            failed += statistics.median([each.failed for each in rounds]) if rounds else 0.0
            posts += statistics.median([each.posts for each in rounds]) if rounds else 0.0
        rows.append(Row("", subject, (max(failed - posts, 0.0), posts)))
    return bars("Failed in all deploys and accidents", "requests, medians of rounds", ("GET", "POST"), rows, 0)


def draw_cost(results: list[Result]) -> str:
    """CPU per request of each chain, by load."""
    rows = [
        Row(result.name, name, (result.median(name, "user") * 1e6, result.median(name, "system") * 1e6))
        for result in results
        if result.unit == "request"
        for name in result.rounds
    ]
    return bars("CPU per request of all proxies", "microseconds", ("user", "system"), rows, 0)


def draw_keys(found: KeysResult) -> str:
    """Memory by number of keys."""
    counts = sorted({count for by_count in found.memory.values() for count in by_count})
    rows = [
        Row(f"{count:,} keys", name, (size,))
        for count in counts
        for name, by_count in found.memory.items()
        if (size := by_count.get(count)) is not None
    ]
    return bars("Memory of all processes", "MB (PSS)", (), rows, 0)
