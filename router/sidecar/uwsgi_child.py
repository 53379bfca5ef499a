"""What there is to say of a uWSGI command: without ``die-on-term``, uWSGI 2.0 takes SIGTERM for a reload.

Pure: files come through ``load``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.uwsgi_ini import read_lines

_NAME = "die-on-term"
_SUBSCRIBES = frozenset({"subscribe", "subscribe-to", "subscribe2", "st"})


def is_uwsgi(command: Sequence[str]) -> bool:
    """Whether ``command`` runs uWSGI itself."""
    return PurePath(command[0]).name.startswith(("uwsgi", "pyuwsgi"))


def remarks(command: Sequence[str], environ: Mapping[str, str], load: Callable[[str], str]) -> list[str]:
    """What whoever runs ``command`` under us should know; empty when it is not uWSGI, or all is well."""
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
            found = read_lines(load(file), file, environ, load).lines
        except (ConfigurationError, OSError, UnicodeDecodeError):
            # What we can't read, uWSGI itself may: nothing can be said about it.
            return []
        names.update(line.name for line in found if line.value not in ("false", "0"))
    said = []
    if _NAME not in names and "hook-master-start" not in names:
        said.append(f"uWSGI without {_NAME} takes SIGTERM for a reload and does not end: add --{_NAME}")
    if names & _SUBSCRIBES:
        said.append("uWSGI subscribes itself, too: it will be told to routers twice; leave one of the two away")
    return said
