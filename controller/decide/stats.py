"""Numbers of one engine for people and metrics.  Written by the deciding thread; times are monotonic seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class EngineStats:
    """``trouble``: why there is no connection, ``list_trouble``: why the last list failed, or what it lacks;
    ``connects`` counts successes; ``events`` by action; ``drift`` by kind (``appeared``, ``changed``, ``gone``)."""

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

    def list_failed(self, reason: str) -> bool:
        """A list failed, wholly or in part; true when that is news."""
        self.list_failures += 1
        news, self.list_trouble = reason != self.list_trouble, reason
        return news

    @property
    def problem(self) -> str:
        """Why not everything is known; empty: it is."""
        return self.trouble or (self.list_trouble and f"the list of containers fails: {self.list_trouble}")

    @property
    def unready(self) -> str:
        """What an engine that was never looked at lacks, as the end of a sentence."""
        if self.connected:
            return f"answers, but {self.problem or 'was not looked at yet'}"
        return f"was not reached yet{self.trouble and f': {self.trouble}'}"
