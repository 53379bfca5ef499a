"""What a controller must know after a restart, in ``--state-dir``: one small JSON file for each engine, and one for the
keys that are held in a state.  An edge.

It is replaced atomically and not synced to disk: it has to outlive the controller, not the machine, as every container
starts anew with that.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Self

from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.own_files import read_own, replace_own

log = logging.getLogger("fastroute.controller.files.state_file")


class StateFile:
    """The file ``name``, which holds ``content`` (for the log); without a ``directory`` nothing is kept."""

    def __init__(self, directory: str | None, name: str, content: str) -> None:
        self._path = Path(directory, name) if directory else None
        self._content, self._trouble = content, ""

    @classmethod
    def of_engine(cls, directory: str | None, url: str) -> Self:
        """What operators asked of containers of the engine at ``url``."""
        name = f"overrides-{hashlib.blake2b(url.encode(), digest_size=6).hexdigest()}.json"
        return cls(directory, name, "drains and weights")

    @classmethod
    def of_keys(cls, directory: str | None) -> Self:
        """What operators asked of keys."""
        return cls(directory, "keys.json", "pauses and maintenance")

    @classmethod
    def of_swarm(cls, directory: str | None) -> Self:
        """What the swarm's managers told last."""
        return cls(directory, "swarm.json", "labels of services")

    def load(self) -> object:
        """What was saved last; None when there is nothing that can be read."""
        if self._path is None:
            return None
        try:
            return read_json(read_own(self._path)[0])
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: not used, the %s that it kept are lost: %s", self._path, self._content, error)
            return None

    def save(self, state: object) -> None:
        """Keep ``state``.  A full disk is logged once, and everything else goes on."""
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        try:
            replace_own(self._path, json.dumps(state).encode(), new, sync=False)
            self._trouble = ""
        except OSError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                text = "%s: %s won't survive a restart of the controller: %s"
                log.warning(text, self._path, self._content, error)
