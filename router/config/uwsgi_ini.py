"""uWSGI's INI files: lines, sections, includes, and its three kinds of variables.

Files come through ``load``.  An edge only where ``%h``, ``%u``, ``%g``, ``%k`` and relative paths mean this machine.

uWSGI 2.0, run on such files, behaves like this, and so do we:

* All sections ``[uwsgi]`` of a file count; other sections are there to be included (``ini = file:section``).
* A line that begins with ``;`` or ``#`` is a comment; there are no comments behind a value, no quotes, no
  continuation.  A name without ``=`` has an empty value.
* ``%d`` and the like mean the file they stand in (capitals: the first file), ``%%`` is a percent sign.
* ``%(name)`` is what any line of any of the files gives to ``name``, before or after; the first such line wins.

Deliberately different: a variable that is not set is an error with its line, where uWSGI leaves it as it stands.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from fastroute.router.config.configuration import ConfigurationError, shown

SECTION = "uwsgi"
_MAX_DEPTH = 8
_MAX_FILES = 64
_MAX_LINES = 50_000
#: Of a value once its variables are in: longer than any path or list, and short enough that doubling can't explode.
_MAX_VALUE = 16_384
_MAX_NESTING = 16

_HEADER = re.compile(r"\[([^\]]*)\]")
_PLACEHOLDER = re.compile(r"%\(([^()]*)\)")
_ENVIRONMENT = re.compile(r"\$\(([^()]*)\)")
_MAGIC = re.compile(r"%([^(]|$)")


@dataclass(frozen=True, slots=True)
class Line:
    """One ``name = value`` of the section."""

    name: str
    value: str
    #: ``FILE:LINE``.
    at: str


@dataclass(slots=True)
class _IniFiles:
    """The files read so far."""

    #: The file that was given, which ``%D`` and the like mean.
    first: str
    environ: Mapping[str, str]
    load: Callable[[str], str]
    files: int = 0
    lines: list[Line] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Ini:
    """A file with all that it includes."""

    #: With variables filled in.
    lines: list[Line]
    #: Names that are variables: set as such, or used in a ``%(name)``.
    variables: frozenset[str]


def read_lines(text: str, file: str, environ: Mapping[str, str], load: Callable[[str], str]) -> Ini:
    """Every option line of ``file`` (whose content is ``text``) and of what it includes, in order.

    ``load`` returns another file's text or raises ``ConfigurationError``, the only thing that this raises too.
    """
    reading = _IniFiles(file, environ, load)
    _read(reading, text, file, SECTION, 0)
    first: dict[str, str] = {}
    for line in reading.lines:
        first.setdefault(line.name, line.value)
    used = reading.variables
    lines = [Line(line.name, _fill(line.value, first, line.at, used), line.at) for line in reading.lines]
    return Ini(lines, frozenset(used))


def _read(reading: _IniFiles, text: str, file: str, section: str, depth: int) -> None:
    reading.files += 1
    current, section_exists = "", False
    for number, raw in enumerate(text.split("\n"), 1):
        at, words = f"{file}:{number}", raw.strip()
        if not words or words[0] in ";#":
            continue
        if words[0] == "[":
            header = _HEADER.fullmatch(words)
            if not header:
                raise ConfigurationError(f"{at}: {shown(words)}: a section expected, like [uwsgi]")
            current = header[1].strip()
            section_exists = section_exists or current == section
        elif current == section:
            _take(reading, words, file, at, depth)
    if not section_exists:
        raise ConfigurationError(f"{file}:1: no section [{section}] in this file")


def _take(reading: _IniFiles, words: str, file: str, at: str, depth: int) -> None:
    name, _, value = (part.strip() for part in words.partition("="))
    if not name:
        raise ConfigurationError(f"{at}: {shown(words)}: name = value expected")
    if len(reading.lines) >= _MAX_LINES:
        raise ConfigurationError(f"{at}: over {_MAX_LINES} lines in all")
    value = _environment(_magic(value, file, reading.first, at), reading.environ, at)
    if value.startswith("@("):
        raise ConfigurationError(f"{at}: {name}: values from @(...) are not understood")
    if name == "ini":
        _include(reading, value, file, at, depth)
    elif name in ("set", "set-ph", "set-placeholder"):
        key, _, value = value.partition("=")
        reading.variables.add(key)
        reading.lines.append(Line(key, value, at))
    else:
        reading.lines.append(Line(name, value, at))


def _include(reading: _IniFiles, value: str, file: str, at: str, depth: int) -> None:
    first: dict[str, str] = {}
    for line in reading.lines:
        first.setdefault(line.name, line.value)
    target, _, section = _fill(value, first, at, reading.variables).partition(":")
    if depth >= _MAX_DEPTH or reading.files >= _MAX_FILES:
        raise ConfigurationError(f"{at}: ini: more than {_MAX_DEPTH} files deep, or {_MAX_FILES} in all (a circle?)")
    target = target or file
    try:
        text = reading.load(target)
    except ConfigurationError as error:
        raise ConfigurationError(f"{at}: ini: {error}") from None
    _read(reading, text, target, section or SECTION, depth + 1)


def _magic(value: str, file: str, first: str, at: str) -> str:
    def magic_value(match: re.Match[str]) -> str:
        letter = match[1]
        if letter in ("", "%"):
            return letter or "%"
        try:
            return _MAGIC_VALUES[letter.lower()](first if letter.isupper() else file)
        except KeyError:
            known = " ".join(f"%{name}" for name in _MAGIC_VALUES)
            raise ConfigurationError(f"{at}: {shown('%' + letter)}: unknown variable; {known} expected") from None

    return _MAGIC.sub(magic_value, value)


def _absolute(file: str) -> PurePath:
    return PurePath(os.path.abspath(file))


def _folder(file: str) -> str:
    return str(_absolute(file).parent).rstrip("/") + "/"


_MAGIC_VALUES: dict[str, Callable[[str], str]] = {
    "d": _folder,
    "p": lambda file: str(_absolute(file)),
    "n": lambda file: _absolute(file).stem,
    "s": lambda file: _absolute(file).name,
    "e": lambda file: _absolute(file).suffix.removeprefix("."),
    "c": lambda file: _absolute(file).parent.name,
    "o": lambda file: file,
    "h": lambda file: socket.gethostname(),
    "u": lambda file: str(os.getuid()),
    "g": lambda file: str(os.getgid()),
    "k": lambda file: str(os.cpu_count() or 1),
}


def _environment(value: str, environ: Mapping[str, str], at: str) -> str:
    def variable(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigurationError(f"{at}: $({match[1]}): this environment variable is not set")
        return environ[match[1]]

    return _ENVIRONMENT.sub(variable, value)


def _fill(value: str, first: Mapping[str, str], at: str, used: set[str]) -> str:
    """``value`` with its ``%(name)`` filled in, from the inside out."""

    def line_value(match: re.Match[str]) -> str:
        name = match[1].strip()
        used.add(name)
        if name not in first:
            raise ConfigurationError(f"{at}: %({name}): no line of this file sets {shown(name)}")
        return first[name]

    for _ in range(_MAX_NESTING):
        if not _PLACEHOLDER.search(value):
            break
        value = _PLACEHOLDER.sub(line_value, value)
        if len(value) > _MAX_VALUE:
            break
    if len(value) > _MAX_VALUE or _PLACEHOLDER.search(value):
        raise ConfigurationError(f"{at}: its %(...) lead in a circle, or to more than {_MAX_VALUE} characters")
    return value
