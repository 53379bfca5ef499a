"""Compares the new version's answers with the old one's: are more of them errors, and is that sure?  Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastroute.ctl.deploy.observed import Answers

#: Fewer answers of the new version decide nothing.
MIN_ANSWERS = 20
#: Before ``bake`` is over a rollout goes back only when it is this sure: standard deviations of a share (the chance
#: to be wrong is 1 in 1,000).
_EARLY_DEVIATIONS = 3.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers of both versions in one time; the p95 (ms) is only shown, it decides nothing."""

    old: Answers
    new: Answers
    old_p95: float | None = None
    new_p95: float | None = None

    @property
    def enough(self) -> bool:
        """Whether there are answers enough to decide anything."""
        return self.new.total >= MIN_ANSWERS

    def worse(self, max_errors: float) -> bool:
        """Whether the share of errors is more than ``max_errors`` (percent) above the old one's."""
        return self.enough and self.new.share - self.old.share > max_errors

    def surely_worse(self, max_errors: float) -> bool:
        """The same, and not by chance: the lower end of what the new share may be (Wilson) is above it."""
        return self.enough and 100.0 * _lower_bound(self.new, _EARLY_DEVIATIONS) - self.old.share > max_errors

    def __str__(self) -> str:
        text = f"errors of the new: {self.new}, of the old: {self.old}"
        if self.new_p95 is not None or self.old_p95 is not None:
            text += f"; p95 of the new: {_ms(self.new_p95)}, of the old: {_ms(self.old_p95)}"
        return text if self.enough else f"{text}; {self.new.total} answers decide nothing ({MIN_ANSWERS} would)"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _lower_bound(answers: Answers, deviations: float) -> float:
    """The lower end of Wilson's interval of the errors' share."""
    number, share, square = answers.total, answers.errors / answers.total, deviations**2
    middle = share + square / (2 * number)
    spread = deviations * math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    return (middle - spread) / (1 + square / number)
