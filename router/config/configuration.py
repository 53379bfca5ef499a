"""One declaration per option; from it come the flag, the FASTROUTE_* variable, the YAML key, the help and the check.

A *source* (command line, environment, file) is read into :data:`Given`: for each option what was written, as text, and
where.  :func:`resolve` lets the first source that has an option win and turns text into values.  Rules of this file:

* Names and defaults of values live in the settings dataclass of the program; an :class:`Option` adds how to read one.
* A reader takes text and returns the value, or raises ``ValueError`` that says what was expected.
* Every mistake is reported as a :class:`ConfigurationError`: one line that begins with the place of the mistake.
* A value that a stronger source overrides is checked all the same: a wrong file stays wrong.

Pure: ``configuration_file.py`` reads files, ``main.py`` has the command line and the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Of the variables.
PREFIX = "FASTROUTE_"
#: Variables of different programs whose names are alike: none of them is a misspelling of another.
_ALIKE = frozenset({"FASTROUTE_KEY", "FASTROUTE_KEYS", "FASTROUTE_CERTIFICATES", "FASTROUTE_NGINX_CERTIFICATES"})
#: Characters of a value in a message.
_MAX_SHOWN = 80
#: Characters of a message: more than any of ours has; other modules' errors may quote a whole value.
_MAX_ERROR = 600


class ConfigurationError(Exception):
    """What is wrong, where, and what was expected: one line for people.  The program exits with 2."""

    def __init__(self, text: str) -> None:
        printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:_MAX_ERROR])
        super().__init__(printable if len(text) <= _MAX_ERROR else printable + "…")


def shown(text: str) -> str:
    """``text`` in quotes, escaped, and cut when it is long."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")


@dataclass(frozen=True, slots=True)
class Text:
    """One value as it was written."""

    value: str
    #: Where it was written; an error about it begins with this.
    origin: str


#: What one source says: option name -> its values in order (one, unless the option is repeatable; none: an empty list).
Given = Mapping[str, Sequence[Text]]


def comma_list(text: str) -> list[str]:
    """The items of a FASTROUTE_* variable that holds a list; empty ones are dropped."""
    return [item.strip() for item in text.split(",") if item.strip()]


@dataclass(frozen=True, slots=True)
class Option:
    """How one setting is written."""

    name: str
    #: Turns the text into the value; ``ValueError`` says what was expected.
    read: Callable[[str], Any]
    #: What the help calls the value; empty for a switch.
    metavar: str
    #: What it does, for ``--help`` and docs/reference.
    help: str
    repeatable: bool = False
    #: The word that means "no value" (None, or an empty list).
    none: str = ""
    #: The default for people, where the value itself says too little.
    default_text: str = ""
    #: How a variable holds several values.
    split: Callable[[str], list[str]] = comma_list
    #: Only a uWSGI INI can give it: it has no flag, variable or YAML key.
    file_only: bool = False

    @property
    def field(self) -> str:
        """The name of its field in the settings."""
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return PREFIX + self.field.upper()


@dataclass(frozen=True, slots=True)
class Program:
    """One program's options."""

    name: str
    #: Its part of a YAML file.
    section: str
    #: The first sentence of its help.
    about: str
    #: What FILE may be; empty: it takes none.
    file_help: str
    options: tuple[Option, ...]
    #: Its settings object when no source gives anything.
    defaults: object
    #: What follows the name on the command line.
    usage: str = "[FILE] [options]"

    def public(self) -> dict[str, Option]:
        """The options that have a flag, by name."""
        return {option.name: option for option in self.options if not option.file_only}

    def default(self, option: Option) -> Any:
        """The value when no source gives one."""
        return getattr(self.defaults, option.field)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One setting's value, and where it comes from."""

    value: Any
    #: ``default`` when no source gave it.
    origin: str


def resolve(program: Program, sources: Sequence[Given]) -> dict[str, Resolved]:
    """Field name -> value and origin; ``sources`` from the strongest to the weakest."""
    values: dict[str, Resolved] = {}
    for option in program.options:
        values[option.field] = Resolved(program.default(option), "default")
        for source in reversed(sources):
            if option.name in source:
                values[option.field] = convert(option, source[option.name])
    return values


def convert(option: Option, texts: Sequence[Text]) -> Resolved:
    """The value that ``texts`` give to ``option`` (at least one text, unless it is repeatable)."""
    origin = texts[-1].origin if texts else option.name
    if option.none and [text.value for text in texts] == [option.none]:
        return Resolved(() if option.repeatable else None, origin)
    items = []
    for text in texts:
        try:
            items.append(option.read(text.value))
        except ValueError as error:
            raise ConfigurationError(f"{text.origin}: {error}") from None
    return Resolved(tuple(items) if option.repeatable else items[-1], origin)


def read_environment(program: Program, environ: Mapping[str, str]) -> Given:
    """What the FASTROUTE_* variables give.  One that is set but empty counts as unset, as compose files write it.

    A name that is none of this program's is refused only when it is close to one: the other programs' variables may
    stand in the same environment (tests/test_variables.py: none of them is that close), and Kubernetes, for one, sets
    variables by the names of services.
    """
    given: dict[str, list[Text]] = {}
    ours = {option.variable: option for option in program.public().values()}
    for variable, value in environ.items():
        if option := ours.get(variable):
            if value.strip():
                items = option.split(value) if option.repeatable else [value.strip()]
                given[option.name] = [Text(item, variable) for item in items]
        elif variable.startswith(PREFIX) and variable not in _ALIKE:
            close = nearest(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in ours), 0.8)
            if close:
                raise ConfigurationError(f"{variable}: unknown variable; did you mean {PREFIX}{close}?")
    return given


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The one of ``names`` that ``name`` probably stands for, or an empty string."""
    # Only for who has made a mistake.
    import difflib

    matches = difflib.get_close_matches(name[:80], list(names), n=1, cutoff=cutoff)
    return matches[0] if matches else ""


def did_you_mean(name: str, names: Iterable[str], form: str = "{}") -> str:
    """``; did you mean X?``, or an empty string when no name is near.  ``form`` is how X is written."""
    close = nearest(name, names)
    return f"; did you mean {form.format(close)}?" if close else ""
