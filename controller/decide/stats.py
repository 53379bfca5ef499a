"""Numbers of one engine for people and metrics.  Written by the deciding thread; times are monotonic seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """``trouble``: why there is no connection, ``list_trouble``: why the last list failed; ``connects`` counts
    successes; ``events`` by action; ``drift`` by kind (``appeared``, ``changed``, ``gone``)."""

    connected: bool = False
    trouble: str = ""
    connects: int = 0
    last_event: float | None = None
    last_sync: float | None = None
    sync_seconds: float = 0.0
    list_failures: int = 0
    list_trouble: str = ""
    events: Counter[str] = field(default_factory=Counter)
    drift: Counter[str] = field(default_factory=Counter)
