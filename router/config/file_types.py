"""Readers of options that name a file or a directory: it has to be there, and usable.  One edge.

They are as those of ``option_types.py``, but they look at the file system.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from fastroute.router.config.configuration import shown
from fastroute.router.config.option_types import path
from fastroute.router.protocol.proof import read_secret


def readable_file(text: str) -> str:
    """A path of a file that exists and can be read."""
    return _existing(text, lambda mode: not stat.S_ISDIR(mode), "file", os.R_OK)


def secret_file(text: str) -> str:
    """A path of a file with a secret that is long enough."""
    read_secret(path(text))
    return text


def directory(text: str) -> str:
    """A path of a directory that exists and can be read."""
    return _existing(text, stat.S_ISDIR, "directory that can be read", os.R_OK | os.X_OK)


def writable_directory(text: str) -> str:
    """A path of a directory that exists and can be written to."""
    return _existing(text, stat.S_ISDIR, "directory that can be written", os.W_OK | os.X_OK)


def _existing(text: str, is_kind: Callable[[int], bool], kind: str, access: int) -> str:
    try:
        mode = os.stat(path(text)).st_mode
    except OSError as error:
        raise ValueError(f"{shown(text)}: a {kind} expected: {error.strerror}") from None
    if not is_kind(mode) or not os.access(text, access):
        raise ValueError(f"{shown(text)}: a {kind} expected")
    return text
