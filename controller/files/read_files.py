"""Whether the files that are read at run time are good, for status and metrics."""

from __future__ import annotations

import time


class ReadFile:
    """One file.

    * ``problem``: what was wrong with it at the last reading; empty: nothing.
    * ``read_at``: when its content was taken over last, in seconds since 1970.
    """

    def __init__(self, file: str) -> None:
        self.file, self.problem = file, ""
        self.read_at: float | None = None

    def failed(self, problem: str) -> bool:
        """The content can't be used; true when this problem is new."""
        new = problem != self.problem
        self.problem = problem
        return new

    def succeeded(self) -> None:
        """The content is in force."""
        self.problem, self.read_at = "", time.time()

    def status(self) -> dict[str, object]:
        """As JSON."""
        return {"file": self.file, "ok": not self.problem, "problem": self.problem or None}
