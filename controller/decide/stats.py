"""What people and metrics read of one engine.  Pure; written by the deciding thread.  Times are monotonic seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class EngineStats:
    """The connection to one engine, and what came of it."""

    connected: bool = False
    #: Why there is no connection; empty: there is one, or was none yet.
    trouble: str = ""
    #: How often a connection was made.
    connects: int = 0
    last_event: float | None = None
    last_sync: float | None = None
    #: How long the last list of containers took.
    sync_seconds: float = 0.0
    list_failures: int = 0
    #: Why the last list failed, or what it lacks.
    list_trouble: str = ""
    #: Events by action.
    events: Counter[str] = field(default_factory=Counter)
    #: Differences that no event had told, by kind: ``appeared``, ``changed``, ``gone``.
    drift: Counter[str] = field(default_factory=Counter)

    def connect(self) -> None:
        """There is a connection."""
        self.connected, self.trouble, self.connects = True, "", self.connects + 1

    def disconnect(self, reason: str) -> bool:
        """There is no connection; true when that is news."""
        news = self.connected or not self.trouble
        self.connected, self.trouble = False, reason
        return news

    def happened(self, action: str, now: float) -> None:
        """A live event came."""
        self.last_event = now
        self.events[action] += 1

    def listed(self, now: float, seconds: float, trouble: str) -> bool:
        """A list came after so many ``seconds``; true when it lacks something (``trouble``), and that is news."""
        self.last_sync, self.sync_seconds = now, seconds
        if trouble:
            return self.list_failed(trouble)
        self.list_trouble = ""
        return False

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
