"""When the sink is given routes for the first time: once there was a look at everything.  Pure.

A new instance that announced half of the containers would take the other half from the routers.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastroute.controller.decide.tracked import TrackedContainer

#: Seconds that the first apply waits for probes.
PROBES_TIMEOUT = 2.0
#: The first apply waits for the inspect of a container until it has failed so often.
MAX_INSPECTS = 3


class FirstApply:
    """Whether it has to wait, and until when."""

    def __init__(self) -> None:
        #: It has happened.
        self.done = False
        #: Until when it waits for probes (monotonic seconds); None: it does not wait for them.
        self.until: float | None = None

    def finish(self) -> None:
        """It happens now."""
        self.done, self.until = True, None

    def waits(self, now: float, known: bool, unseen: Iterable[TrackedContainer], untried: bool) -> bool:
        """True while it waits: until list and labels of services are ``known``, for a look at the ``unseen``, for a try
        of every probe."""
        if self.done:
            return False
        if not known or any(tracked.failures < MAX_INSPECTS for tracked in unseen):
            self.until = None
            return True
        if self.until is None:
            self.until = now + PROBES_TIMEOUT
        return untried and now < self.until
