"""The end of the controller, some seconds after its SIGTERM (``--linger``).

When a node of a swarm is drained, its controller is told to end together with the workers, and their ends are what the
routers have to hear.  A second SIGTERM ends it at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Linger:
    """Calls ``stop`` so many ``seconds`` after the first :meth:`end`."""

    def __init__(self, seconds: float, stop: Callable[[], None]) -> None:
        self._seconds, self._stop = seconds, stop
        self._timer: threading.Timer | None = None

    def end(self) -> None:
        """A signal to end came; safe in a signal handler."""
        if self._timer is not None or not self._seconds:
            self._stop()
            return
        self._timer = threading.Timer(self._seconds, self._stop)
        self._timer.daemon = True
        self._timer.start()
