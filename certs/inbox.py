"""What other threads tell the loop: how attempts ended, that they have an order, that there is something to look at."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from fastroute.certs.decide.outcomes import Outcome

#: Seconds that an attempt waits until the URL of its order is on disk.
KEEP_TIMEOUT = 10.0


@dataclass(slots=True)
class OrderBegan:
    """An attempt has an order at the CA."""

    host: str
    url: str
    #: Set when that is on disk.
    kept: threading.Event = field(default_factory=threading.Event)


class Inbox:
    """Messages for one thread; any thread sends them."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Outcome | OrderBegan | None] = queue.SimpleQueue()

    def post(self, message: Outcome | OrderBegan | None = None) -> None:
        """Tell what happened; nothing: look again."""
        self._queue.put(message)

    def began(self, host: str, url: str) -> None:
        """An attempt has an order at ``url``; back when that is on disk."""
        message = OrderBegan(host, url)
        self.post(message)
        message.kept.wait(KEEP_TIMEOUT)

    def take(self, longest: float) -> tuple[list[Outcome], list[OrderBegan]]:
        """What is there; waits at most ``longest`` seconds until something is."""
        outcomes, began = list[Outcome](), list[OrderBegan]()
        with suppress(queue.Empty):
            message = self._queue.get(timeout=longest)
            while True:
                if isinstance(message, OrderBegan):
                    began.append(message)
                elif message is not None:
                    outcomes.append(message)
                message = self._queue.get_nowait()
        return outcomes, began
