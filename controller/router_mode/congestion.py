"""How much may be under way to one router, and how long to wait for its ack.  Pure; times in seconds.

A router that is busy with what we sent must not be asked for it again and again: that makes it busier still.  So the
window opens with acks and halves when one is missing, as TCP's does, and a packet is first sent again after twice the
usual time of an answer, if that is more than the 20 ms of docs/reference/wire.md.  While acks are missing that time is
unknown, as an ack does not tell which copy it answers: it doubles, until a packet is acked that was sent once.
"""

from __future__ import annotations

from fastroute.controller.router_mode.packets_in_flight import MAX_RESEND_INTERVAL, RESEND_AFTER

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
        #: Seconds after which a packet that was not acked is sent again.
        self.resend_after = RESEND_AFTER
        self._shrunk_at = float("-inf")

    @property
    def window(self) -> int:
        """Packets that may be under way."""
        return int(self._window)

    def acked(self, seconds: float, resends: int) -> None:
        """A packet was acked ``seconds`` after it went out first; it was sent ``resends`` times more."""
        step = 1.0 if self._window < self._threshold else 1.0 / self._window
        self._window = min(self._limit, self._window + step)
        if not resends:
            self._round_trip += (seconds - self._round_trip) * (_SMOOTHING if self._round_trip else 1.0)
            self.resend_after = min(max(RESEND_AFTER, 2 * self._round_trip), MAX_RESEND_INTERVAL)

    def missed(self, now: float) -> None:
        """An ack is missing; several at once are one event."""
        if now - self._shrunk_at >= self.resend_after:
            self._shrunk_at = now
            self.resend_after = min(2 * self.resend_after, MAX_RESEND_INTERVAL)
            self._threshold = self._window = max(SMALLEST_WINDOW, self._window / 2)
