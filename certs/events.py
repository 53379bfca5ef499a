"""What happened to certificates, as events: for ``/v1/events`` and the log.  Any thread writes, any thread reads."""

from __future__ import annotations

import logging

from fastroute.router.runtime.event_log import EventLog

_LEVELS = {"failed": logging.WARNING, "held": logging.WARNING, "warning": logging.WARNING}
_log = logging.getLogger("fastroute.certs")


class CertsEvents:
    """The events of one program."""

    def __init__(self) -> None:
        self.log = EventLog()

    def write(self, kind: str, text: str, host: str = "") -> None:
        """Remember and log that something happened, to ``host``."""
        _log.log(_LEVELS.get(kind, logging.INFO), "%s%s", f"{host}: " if host else "", text)
        self.log.add(kind, **{name: value for name, value in {"text": text, "host": host}.items() if value})
