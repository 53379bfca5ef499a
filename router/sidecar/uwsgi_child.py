"""Warnings about a uWSGI command: without ``die-on-term``, uWSGI 2.0 takes SIGTERM for a reload.

Pure: files come through ``load``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.uwsgi_ini import read_lines

_DIE_ON_TERM = "die-on-term"
_SUBSCRIBE_OPTIONS = frozenset({"subscribe", "subscribe-to", "subscribe2", "st"})


def is_uwsgi(command: Sequence[str]) -> bool:
    """Whether ``command`` runs uWSGI itself."""
    return command[0].rpartition("/")[2].startswith(("uwsgi", "pyuwsgi"))


def remarks(command: Sequence[str], environ: Mapping[str, str], load: Callable[[str], str]) -> list[str]:
    """What the user of ``command`` should know; empty when it is not uWSGI, or nothing is wrong."""
    if not command or not is_uwsgi(command):
        return []
    names = {variable.removeprefix("UWSGI_").lower().replace("_", "-") for variable in environ
             if variable.startswith("UWSGI_")}  # fmt: skip
    files: list[str] = []
    for word, following in zip(command[1:], [*command[2:], ""], strict=True):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-"):
            names.add(name)
        if word.startswith("--ini"):
            files.append(value if equals else following)
        elif word.endswith(".ini") and not word.startswith("-"):
            files.append(word)
    for file in dict.fromkeys(files):
        try:
            lines = read_lines(load(file), file, environ, load).lines
        except (ConfigurationError, OSError, UnicodeDecodeError):
            # uWSGI itself may be able to read it, so we can't tell what it says.
            return []
        names.update(line.name for line in lines if line.value not in ("false", "0"))
    warnings = []
    if _DIE_ON_TERM not in names and "hook-master-start" not in names:
        warnings.append(
            f"uWSGI without {_DIE_ON_TERM} takes SIGTERM for a reload and does not end: add --{_DIE_ON_TERM}"
        )
    if names & _SUBSCRIBE_OPTIONS:
        warnings.append("uWSGI subscribes itself, too, so routers would get the worker twice; remove one of the two")
    return warnings
