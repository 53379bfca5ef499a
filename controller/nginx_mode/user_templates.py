"""What users bring: templates that replace ours one by one, and includes for single keys.  An edge: reads, and no more.

A :class:`Customs` is a snapshot of all text, so that what was tested is what is written, whatever happens to the files
meanwhile; nginx itself never reads from the user's directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import fastroute.templates

_OURS = Path(fastroute.templates.__file__).parent / "nginx"
#: Below the template directory: ``NAME.conf`` goes into the server of a host, ``NAME.location.conf`` into its location.
INCLUDES = "includes"
_LARGEST = 1_000_000


class CustomsProblem(ValueError):
    """The user's files can't be used; the message begins with FILE or FILE:LINE."""


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file, and where it stands."""

    text: str
    file: str


def _nothing() -> Mapping[str, Source]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Customs:
    """``templates``: all of them by name, the user's in place of ours; ``includes``: texts by file name."""

    templates: Mapping[str, Source]
    includes: Mapping[str, Source] = field(default_factory=_nothing)


def built_in() -> Customs:
    """Our own templates."""
    return Customs(_templates(_OURS))


def read_customs(directory: str | None) -> Customs:
    """Our templates, those in ``directory`` in their place, and the includes there; ``CustomsProblem``."""
    ours = _templates(_OURS)
    if directory is None:
        return Customs(ours)
    top = Path(directory)
    if not top.is_dir():
        raise CustomsProblem(f"{directory}: no such directory")
    theirs = _templates(top)
    for name, source in theirs.items():
        if name not in ours:
            raise CustomsProblem(
                f"{source.file}: no template of ours is called so; there are {', '.join(sorted(ours))}"
            )
    includes = {path.name: _read(path) for path in sorted((top / INCLUDES).glob("*.conf"))}
    return Customs({**ours, **theirs}, includes)


def _templates(directory: Path) -> dict[str, Source]:
    return {path.name: _read(path) for path in sorted(directory.glob("*.j2"))}


def _read(path: Path) -> Source:
    try:
        data = path.read_bytes()
        if len(data) > _LARGEST:
            raise CustomsProblem(f"{path}: more than {_LARGEST} bytes")
        return Source(data.decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CustomsProblem(f"{path}: {error}") from None
