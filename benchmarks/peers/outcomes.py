"""What became of requests, and what that makes in a table.  Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

#: Seconds from which an answer is slow.
SLOW = 1.0
GOOD = "200"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request.  ``sent`` is the machine's monotonic clock; ``status`` is a number, or what happened instead of an
    answer; ``by`` is the container that answered."""

    sent: float
    seconds: float
    status: str
    method: str = "GET"
    by: str = ""

    @property
    def good(self) -> bool:
        """A whole answer 200 from a container of the right key."""
        return self.status == GOOD


@dataclass(frozen=True, slots=True)
class Figures:
    """What one subject did in one round of one scenario.  Times in seconds."""

    requests: int
    failed: int
    posts: int
    slow: int
    outage: float
    p50: float
    p99: float
    kinds: dict[str, int]


def docker_seconds(text: str) -> float:
    """Docker's way to write a time (UTC, any number of digits behind the second), in seconds since the epoch."""
    return datetime.fromisoformat(f"{text.removesuffix('Z')[:26]}+00:00").timestamp()


def percentile(values: Sequence[float], rank: int) -> float:
    """The ``rank``th percentile; 0 without values."""
    if len(values) < 2:
        return float(values[0]) if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]


def figures_of(outcomes: Iterable[Outcome]) -> Figures:
    """The sums.  Outage: from the first request that failed to the last one, both as they were sent; times are those of
    good answers."""
    seen = sorted(outcomes, key=lambda outcome: outcome.sent)
    failed = [outcome for outcome in seen if not outcome.good]
    times = [outcome.seconds for outcome in seen if outcome.good]
    return Figures(
        len(seen),
        len(failed),
        sum(outcome.method == "POST" for outcome in failed),
        sum(seconds > SLOW for seconds in times),
        failed[-1].sent - failed[0].sent if failed else 0.0,
        percentile(times, 50),
        percentile(times, 99),
        dict(sorted(Counter(outcome.status for outcome in failed).items())),
    )


def middle_and_worst(values: Sequence[float], digits: int = 0) -> str:
    """``MEDIAN (WORST)``; one number where they are the same."""
    middle, worst = (f"{value:.{digits}f}" for value in (statistics.median(values), max(values)))
    return middle if middle == worst else f"{middle} ({worst})"


DETAIL_HEAD = [
    "scenario", "way", "failed", "POSTs of them", "slow", "outage s", "p50 ms", "p99 ms", "requests", "failed by",
]  # fmt: skip

#: scenario -> subject -> rounds
Deploys = dict[str, dict[str, list[Figures]]]


@dataclass(slots=True)
class DeploysResult:
    """All rounds."""

    settings: dict[str, str] = field(default_factory=dict)
    #: Who knows three addresses and nothing of Docker.
    fixed: list[str] = field(default_factory=list)
    figures: Deploys = field(default_factory=dict)
    #: Seconds from a container's start to the first good answer, by subject.
    starts: dict[str, list[float]] = field(default_factory=dict)
    #: The most that the client itself was late, and the machine's load average at the begin and the end.
    late: float = 0.0
    rounds: int = 0
    load: tuple[float, float] = (0.0, 0.0)


def detail_rows(found: Deploys) -> list[list[str]]:
    """A line for each scenario and subject: medians of the rounds, with the worst round in brackets."""
    return [
        [
            scenario, subject,
            middle_and_worst([each.failed for each in rounds]),
            middle_and_worst([each.posts for each in rounds]),
            middle_and_worst([each.slow for each in rounds]),
            middle_and_worst([each.outage for each in rounds], 1),
            middle_and_worst([each.p50 * 1000 for each in rounds]),
            middle_and_worst([each.p99 * 1000 for each in rounds]),
            f"{sum(each.requests for each in rounds)}",
            kinds_text(rounds),
        ]
        for scenario, subjects in found.items()
        for subject, rounds in subjects.items()
    ]  # fmt: skip


def kinds_text(rounds: Iterable[Figures]) -> str:
    """``12 x 502, 1 x reset``: over all rounds, the most frequent first."""
    total: Counter[str] = Counter()
    for each in rounds:
        total.update(each.kinds)
    return ", ".join(f"{count} x {kind}" for kind, count in total.most_common())


def summary(found: Deploys, subjects: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The table people look for: failed requests, a column for each subject; those who were not there have none."""
    rows = []
    for scenario, by_subject in found.items():
        cells = [
            middle_and_worst([each.failed for each in by_subject[subject]]) if subject in by_subject else ""
            for subject in subjects
        ]
        rows.append([scenario, *cells])
    return ["failed requests", *subjects], rows


START_HEAD = ["start → first good answer", "median ms", "slowest ms", "starts"]


def start_rows(times: dict[str, list[float]]) -> list[list[str]]:
    """``times`` in seconds, by subject."""
    return [
        [subject, f"{statistics.median(each) * 1000:.0f}", f"{max(each) * 1000:.0f}", str(len(each))]
        for subject, each in times.items()
        if each
    ]
