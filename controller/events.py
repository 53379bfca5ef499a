"""What happened and what was decided, as events: for ``events``, ``describe`` and the log.

Any thread writes, any thread reads.  One event is one line of log; the kinds of ``_QUIET`` only at level debug.
"""

from __future__ import annotations

import logging

from fastroute.router.runtime.event_log import Event, EventLog

_QUIET = ("event", "probe", "packet", "ack")
_log = logging.getLogger("fastroute.controller")


class ControllerEvents:
    """The events of one controller."""

    def __init__(self) -> None:
        self.log = EventLog()

    def write(self, kind: str, text: str, container: str = "", id: str = "", key: str = "") -> Event:
        """Remember and log that something happened, to ``container`` (a name) with ``id``, or to ``key``."""
        level = logging.DEBUG if kind in _QUIET else logging.WARNING if kind == "warning" else logging.INFO
        _log.log(level, "%s%s", f"{container}: " if container else "", text)
        named = {"text": text, "container": container, "id": id, "key": key}
        return self.log.add(kind, **{name: value for name, value in named.items() if value})

    def recent(self) -> list[Event]:
        """All that is remembered, oldest first."""
        return self.log.recent()
