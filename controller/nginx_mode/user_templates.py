"""The user's templates, which replace ours one by one, and includes for single keys.  An edge that only reads.

A :class:`UserTemplates` is a snapshot of all text, so that what was tested is what is written, whatever happens to the
files meanwhile; nginx itself never reads from the user's directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import fastroute.templates

_BUILT_IN = Path(fastroute.templates.__file__).parent / "nginx"
#: Below the template directory: ``NAME.conf`` goes into the server of a host, ``NAME.location.conf`` into its location.
INCLUDES = "includes"
_MAX_FILE_SIZE = 1_000_000


class UserTemplatesProblem(ValueError):
    """The user's files can't be used; the message begins with FILE or FILE:LINE."""


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """The text of one file, and where it stands."""

    text: str
    file: str


def _nothing() -> Mapping[str, TemplateSource]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class UserTemplates:
    """All templates and includes, as they were when they were read."""

    #: All templates by name, the user's in place of ours.
    templates: Mapping[str, TemplateSource]
    #: The includes by file name.
    includes: Mapping[str, TemplateSource] = field(default_factory=_nothing)


def built_in() -> UserTemplates:
    """Our own templates."""
    return UserTemplates(_templates(_BUILT_IN))


def read_user_templates(directory: str | None) -> UserTemplates:
    """Our templates, those in ``directory`` in their place, and the includes there; ``UserTemplatesProblem``."""
    if directory is None:
        return built_in()
    ours = _templates(_BUILT_IN)
    top = Path(directory)
    if not top.is_dir():
        raise UserTemplatesProblem(f"{directory}: no such directory")
    theirs = _templates(top)
    for name, source in theirs.items():
        if name not in ours:
            raise UserTemplatesProblem(
                f"{source.file}: no template of ours is called so; there are {', '.join(sorted(ours))}"
            )
    includes = {path.name: _read(path) for path in sorted((top / INCLUDES).glob("*.conf"))}
    return UserTemplates({**ours, **theirs}, includes)


def _templates(directory: Path) -> dict[str, TemplateSource]:
    return {path.name: _read(path) for path in sorted(directory.glob("*.j2"))}


def _read(path: Path) -> TemplateSource:
    try:
        data = path.read_bytes()
        if len(data) > _MAX_FILE_SIZE:
            raise UserTemplatesProblem(f"{path}: more than {_MAX_FILE_SIZE} bytes")
        return TemplateSource(data.decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserTemplatesProblem(f"{path}: {error}") from None
