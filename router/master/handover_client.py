"""The new router's side of a hand-over: says how far it is, and hears whether the place is its own."""

from __future__ import annotations

from typing import Literal

from fastroute.router.master.handover import HandoverSocket, HandoverState

Answer = Literal["", "yours", "refused"]


class HandoverClient:
    """``pid`` is the other's.  ``why`` it refused."""

    def __init__(self, talk: HandoverSocket, estate: HandoverState) -> None:
        self._talk, self.estate, self.pid, self.why = talk, estate, talk.pid, ""
        self._ready = self._alone = False

    def fileno(self) -> int:
        """For ``select``."""
        return -1 if self._alone else self._talk.fileno()

    def standby(self) -> None:
        """Our control waits for the state."""
        self._talk.say(word="standby")

    def ready(self) -> Answer:
        """All of ours serves.  ``yours``: so does nobody else any more."""
        if self._alone:
            return "yours"
        if not self._ready:
            self._ready = True
            self._talk.say(word="ready")
        return ""

    def hear(self) -> Answer:
        """The next message; the end of the other is no refusal: all there is to take is here."""
        message, _ = self._talk.hear()
        if message is None:
            self._alone = True
            return ""
        if "error" in message:
            self.why = str(message["error"])
            return "refused"
        return "yours" if message.get("word") == "yours" else ""

    def close(self) -> None:
        """The talk is over."""
        self._talk.close()
