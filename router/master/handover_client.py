"""The new router's side of a hand-over: reports how far it is, and learns whether the old router lets it serve."""

from __future__ import annotations

from typing import Literal

from fastroute.router.master.handover import HandoverSocket, HandoverState

#: What the old router decided; empty: nothing yet.
Decision = Literal["", "yours", "refused"]


class HandoverClient:
    """The connection to the router that we take over from."""

    def __init__(self, connection: HandoverSocket, state: HandoverState) -> None:
        self._connection = connection
        #: What the old router handed over.
        self.state = state
        #: The old router's process id.
        self.pid = connection.pid
        #: Why the old router refused; empty: it did not.
        self.refusal = ""
        self._reported_ready = self._peer_ended = False

    def fileno(self) -> int:
        """For ``select``."""
        return -1 if self._peer_ended else self._connection.fileno()

    def standby(self) -> None:
        """Report that our control waits for the state."""
        self._connection.send(word="standby")

    def ready(self) -> Decision:
        """Report that all of our children serve; ``yours`` when there is no old router left to decide."""
        if self._peer_ended:
            return "yours"
        if not self._reported_ready:
            self._reported_ready = True
            self._connection.send(word="ready")
        return ""

    def receive(self) -> Decision:
        """Read one message.  If the old router has died, that is no refusal: we have all that there is to take."""
        message, _ = self._connection.receive()
        if message is None:
            self._peer_ended = True
            return ""
        if "error" in message:
            self.refusal = str(message["error"])
            return "refused"
        return "yours" if message.get("word") == "yours" else ""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
