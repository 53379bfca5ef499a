"""How much may be under way to one router, and how long to wait for its ack.  Pure; times in seconds.

A router that is busy with what we sent must not be asked for it again and again: that makes it busier still.  So the
window opens with acks and halves when one is missing, as TCP's does, and a packet is first sent again after twice the
usual time of an answer, if that is more than the 20 ms of docs/reference/wire.md.
"""

from __future__ import annotations

from fastroute.controller.router_mode.packets_in_flight import RESEND_AFTER

#: The router acks within 50 ms or not at all; no use in waiting much longer.
MAX_RESEND_AFTER = 0.120
SMALLEST_WINDOW = 2.0
FIRST_WINDOW = 4.0
_SMOOTHING = 0.125


class CongestionWindow:
    """``limit`` is the largest window, in packets."""

    def __init__(self, limit: int) -> None:
        self._limit = float(limit)
        self._window = min(FIRST_WINDOW, self._limit)
        self._threshold = self._limit
        self._round_trip = 0.0
        self._shrunk_at = float("-inf")

    @property
    def window(self) -> int:
        """Packets that may be under way."""
        return int(self._window)

    @property
    def resend_after(self) -> float:
        """Seconds after which a packet that was not acked is sent again."""
        return min(max(RESEND_AFTER, 2 * self._round_trip), MAX_RESEND_AFTER)

    def acked(self, seconds: float, resends: int) -> None:
        """A packet was acked ``seconds`` after it went out first; it was sent ``resends`` times more.

        Which of its copies the ack is for can't be told.  One or two repetitions count as if it were for the first: a
        router slower than 20 ms would never be understood otherwise, and a few losses weigh little in the mean.
        """
        if resends <= 2:
            self._round_trip += (seconds - self._round_trip) * (_SMOOTHING if self._round_trip else 1.0)
        if resends:
            return
        step = 1.0 if self._window < self._threshold else 1.0 / self._window
        self._window = min(self._limit, self._window + step)

    def missed(self, now: float) -> None:
        """An ack is missing; several at once are one event."""
        if now - self._shrunk_at >= self.resend_after:
            self._shrunk_at = now
            self._threshold = self._window = max(SMALLEST_WINDOW, self._window / 2)
