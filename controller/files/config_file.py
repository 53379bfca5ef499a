"""FILE of the command line while we run: read again when it changes, as far as that can take effect.

Flags and variables win over FILE then as at the start.  What decides sockets, names and engines needs a restart, and
the log says so; nothing changes half: a FILE with a mistake changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from fastroute.controller.decide.messages import Configure, Message
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.settings import ControllerSettings
from fastroute.router.config.configuration import ConfigurationError

#: Settings that change while the program runs.
LIVE = ("filter", "label_prefix", "log_level", "network", "resync")


class ConfigFile:
    """``file``, from which ``parse`` makes settings (with all other sources); ``posts`` tell the engines."""

    def __init__(
        self,
        file: str,
        settings: ControllerSettings,
        parse: Callable[[], ControllerSettings],
        posts: Sequence[Callable[[Message], None]],
        events: ControllerEvents,
    ) -> None:
        self.path, self.read = Path(file), ReadFile(file)
        self.read.succeeded()
        self._settings, self._parse, self._posts, self._events = settings, parse, posts, events

    def reread(self) -> None:
        """Read all sources again, and let what can change live change."""
        try:
            settings = self._parse()
        except ConfigurationError as error:
            if self.read.failed(str(error)):
                self._events.write("warning", f"{error}; the configuration stays as it was")
            return
        self.read.succeeded()
        changed = [
            field.name
            for field in fields(settings)
            if getattr(settings, field.name) != getattr(self._settings, field.name)
        ]
        self._settings = settings
        if live := [name for name in changed if name in LIVE]:
            logging.getLogger().setLevel(settings.log_level.upper())
            for post in self._posts:
                post(Configure(settings))
            self._events.write("configuration", f"{self.read.file}: {_listed(live)} changed")
        if rest := [name for name in changed if name not in LIVE]:
            text = f"{self.read.file}: {_listed(rest)} changed; that needs a restart of the controller"
            self._events.write("warning", text)


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", "-") for name in names)
