"""The command line: ``[FILE] --option VALUE --option=VALUE --switch --no-switch``, and the text of ``--help``.  Pure.

Written by hand and not with argparse: every mistake is one line, with the nearest name, and flags, variables and files
come from the same declarations.  Options are never abbreviated.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastroute.router.config.configuration import ConfigurationError, Given, Option, Program, Text, did_you_mean, shown

#: Where the help's second column begins.
_HELP_COLUMN = 30
_MIN_WIDTH, _MAX_WIDTH = 60, 110


class InfoRequested(Exception):
    """The command line asked for a text (``--help``, ``--version``), not for a run.  The text is the message."""


@dataclass(slots=True)
class CommandLine:
    """What the command line gave."""

    #: FILE, if there is one.
    file: str | None = None
    given: dict[str, list[Text]] = field(default_factory=dict)

    @property
    def flags(self) -> Given:
        """The options, as a source for ``resolve``."""
        return self.given


def read_command_line(program: Program, argv: Sequence[str], version: str, width: int = 80) -> CommandLine:
    """``argv`` (without the program's name) as a :class:`CommandLine`; raises :class:`InfoRequested` for ``--help``."""
    line = CommandLine()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word in ("--help", "-h"):
            raise InfoRequested(help_text(program, width))
        if word in ("--version", "-V"):
            raise InfoRequested(f"{program.name} {version}\n")
        if word == "--":
            for file in rest:
                _take_file(program, line, file)
            break
        if word.startswith("-") and word != "-":
            _take_option(program, line, word, rest)
        else:
            _take_file(program, line, word)
    return line


def _take_file(program: Program, line: CommandLine, word: str) -> None:
    if not program.file_help:
        raise ConfigurationError(f"{program.name}: {shown(word)}: unexpected ({program.name} {program.usage})")
    if line.file is not None:
        raise ConfigurationError(
            f"{program.name}: {shown(word)}: only one FILE expected, {line.file!r} was given before"
        )
    line.file = word


def _take_option(program: Program, line: CommandLine, word: str, rest: list[str]) -> None:
    flag, equals, value = word.partition("=")
    options = program.public()
    option = options.get(flag.removeprefix("--")) if flag.startswith("--") else None
    off = options.get(flag.removeprefix("--no-"))
    if option is None and off and not off.metavar and not equals:
        option, equals, value = off, "=", "false"
    if option is None:
        flags = [known.flag for known in options.values()] + ["--help", "--version"]
        raise ConfigurationError(f"{program.name}: {shown(flag)}: unknown option{did_you_mean(flag, flags)}")
    if not equals:
        value = "true" if not option.metavar else _value(program, option, rest)
    texts = line.given.setdefault(option.name, [])
    if not option.repeatable:
        texts.clear()
    texts.append(Text(value, f"{program.name}: {option.flag}"))


def _value(program: Program, option: Option, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        raise ConfigurationError(f"{program.name}: {option.flag}: a value expected ({option.flag} {option.metavar})")
    return rest.pop(0)


def help_text(program: Program, width: int = 80) -> str:
    """What ``--help`` prints."""
    width = max(_MIN_WIDTH, min(width, _MAX_WIDTH))
    parts = [f"Usage: {program.name} {program.usage}\n", textwrap.fill(program.about, width) + "\n"]
    if program.file_help:
        parts.append(textwrap.fill(program.file_help, width) + "\n")
    parts.append("Options:")
    for option in program.public().values():
        usage = f"{option.flag} {option.metavar}" if option.metavar else f"{option.flag}, --no-{option.name}"
        parts.append(_row(usage, f"{option.help} ({_remarks(program, option)})", width))
    parts.append(_row("-h, --help", "show this and exit", width))
    parts.append(_row("-V, --version", "show the version and exit", width))
    first = next(iter(program.public().values()))
    variables = (
        f"Every option is also a variable, {first.flag} {first.variable} for one (lists comma separated, switches true"
        f" or false){', and a key of FILE' if program.file_help else ''}. Flags win over variables"
        f"{', those over FILE' if program.file_help else ''}. Times are seconds, or 500ms, 2s, 5m."
    )
    return "\n".join([*parts, "", textwrap.fill(variables, width)]) + "\n"


def _row(usage: str, text: str, width: int) -> str:
    indent = " " * _HELP_COLUMN
    body = textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)
    start = f"  {usage}"
    return f"{start:<{_HELP_COLUMN}}{body[_HELP_COLUMN:]}" if len(start) < _HELP_COLUMN else f"{start}\n{body}"


def _remarks(program: Program, option: Option) -> str:
    remarks = [f"default: {option.default_text or show(program.default(option))}"]
    if option.repeatable:
        remarks.append("repeatable")
    return "; ".join(remarks)


def show(value: object) -> str:
    """A setting's value as people would write it."""
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(show(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
