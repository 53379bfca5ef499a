"""A mistake or a doubt that ``check`` found, and where.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastroute.router.runtime.logs import printable

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """``at`` is ``FILE:LINE``; an ``error`` will not work, a ``warning`` works worse than it looks."""

    level: Level
    at: str
    text: str

    def __str__(self) -> str:
        return printable(f"{self.at}: {'warning: ' if self.level == 'warning' else ''}{self.text}")
