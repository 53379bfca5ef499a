"""Our own directory beside the pairs, ``DIR/.state``: records, accounts, and the lock that makes us one.  One edge."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fastroute.certs.decide.records import CaRecord, HostRecord, read_state, write_state
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.own_files import NotOurs, read_own, replace_own


class StateDirectory:
    """``path`` is made when it is missing; only we may look into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def open(self) -> None:
        """Make it, and keep others of us out; :class:`StartError` when another one works there."""
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"{self.path.parent}: another fastroute-certs works there; each needs its own") from None
        except OSError as error:
            raise StartError(f"{self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Let others in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Records

    def load(self) -> tuple[dict[str, HostRecord], CaRecord, str]:
        """The records, and what was wrong with the file; one that can't be used is put aside as ``state.json.bad``."""
        path = self.path / "state.json"
        try:
            data, _ = read_own(path)
            state = read_json(data)
        except FileNotFoundError:
            return {}, CaRecord(), ""
        except (OSError, ValueError) as error:
            why = error.why if isinstance(error, NotOurs) else str(error)
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".json.bad"))
            return {}, CaRecord(), f"{path} can't be used and is put aside: {why}"
        return *read_state(state), ""

    def save(self, hosts: dict[str, HostRecord], ca: CaRecord) -> None:
        """Write the records, as a whole or not at all; ``OSError`` when that can't be."""
        self._replace("state.json", write_state(hosts.values(), ca))

    # Accounts

    def load_account(self, directory: str) -> dict[str, str]:
        """What was saved for the CA with that directory; empty when nothing was."""
        try:
            data, _ = read_own(self.path / _account_file(directory))
            account = read_json(data)
        except (OSError, ValueError):
            return {}
        if not isinstance(account, dict) or account.get("directory") != directory:
            return {}
        return {name: value for name, value in account.items() if isinstance(value, str)}

    def save_account(self, directory: str, account: dict[str, str]) -> None:
        """Keep ``account``; ``OSError`` when that can't be."""
        self._replace(_account_file(directory), {**account, "directory": directory})

    def _replace(self, name: str, value: dict[str, Any]) -> None:
        data = json.dumps(value, separators=(",", ":")).encode()
        replace_own(self.path / name, data, self.path / f"{name}.new", sync=True)


def _account_file(directory: str) -> str:
    return f"account-{hashlib.sha256(directory.encode()).hexdigest()[:16]}.json"
