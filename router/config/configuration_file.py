"""FILE in YAML: the section of one program, read from the composed node tree so that every value knows its line.

Nothing is constructed: a scalar stays the text that was written (``22:30`` no number in base sixty, ``0660`` no
decimal), the readers of the options decide.  Aliases are followed to a fixed depth only, so they can't explode.
Whatever the bytes are, the outcome is :data:`Given` or :class:`ConfigurationError` as ``FILE:LINE: ...``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import yaml

from fastroute.router.config.configuration import ConfigurationError, Given, Option, Program, Text, did_you_mean, shown

#: Far above any real file (10,000 fixed nodes are 400 KB), and quick enough to read.
MAX_FILE = 1 << 20
SECTIONS = ("router", "controller", "workers", "certs", "page")

_TAG = "tag:yaml.org,2002:"
_NULL = _TAG + "null"
_BOOL = _TAG + "bool"
_PLAIN_TAGS = frozenset(_TAG + kind for kind in ("str", "int", "float", "bool", "timestamp", "null"))


def read_file(file: str) -> bytes:
    """The bytes of ``file``; ``ConfigurationError`` when it can't be read or is too large."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ConfigurationError(f"{file}: cannot be read: {reason}") from None
    if len(data) > MAX_FILE:
        raise ConfigurationError(f"{file}: over {MAX_FILE:,} bytes; a configuration file expected")
    return data


def decode(data: bytes, file: str) -> str:
    """``data`` as UTF-8 text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}:{line}: byte {data[error.start]:#04x} is not UTF-8 text") from None


def document(data: bytes, file: str) -> yaml.Node | None:
    """The one document of a YAML file; None: it is empty."""
    return _compose(decode(data, file), file)


def sections_of(data: bytes, file: str) -> dict[str, yaml.Node]:
    """The sections of a YAML file by name."""
    root = document(data, file)
    if root is None or is_null(root):
        return {}
    sections = {}
    for name, key, value in pairs(root, file, "sections " + ", ".join(f"{section}:" for section in SECTIONS)):
        if name not in SECTIONS:
            hint = did_you_mean(name, SECTIONS, "{}:") or f"; {', '.join(SECTIONS)} expected"
            raise ConfigurationError(f"{where(key, file)}: {shown(name)}: unknown section{hint}")
        sections[name] = value
    return sections


def read_section(program: Program, node: yaml.Node | None, file: str) -> Given:
    """The options in a program's section ``node`` (None: there is none)."""
    if node is None or is_null(node):
        return {}
    return read_mapping(program.public(), node, file, f"options of {program.section}:")


def read_mapping(options: Mapping[str, Option], node: yaml.Node, file: str, expected: str) -> Given:
    """The ``options`` in a mapping; ``expected`` names what it is."""
    given: dict[str, list[Text]] = {}
    for name, key, value in pairs(node, file, expected):
        option = options.get(name)
        if option is None:
            raise ConfigurationError(f"{where(key, file)}: {shown(name)}: unknown option{did_you_mean(name, options)}")
        given[name] = list(_texts(option, value, file))
    return given


def is_null(node: yaml.Node) -> bool:
    """True for ``null``, ``~`` and nothing."""
    return str(node.tag) == _NULL


def where(node: yaml.Node, file: str) -> str:
    """``FILE:LINE`` of ``node``."""
    return f"{file}:{node.start_mark.line + 1}"


def pairs(node: yaml.Node, file: str, expected: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Name, key node and value node of each pair of a mapping; anything else, and a name given twice, is an error."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{where(node, file)}: {expected} expected, {_kind(node)} found")
    seen: dict[str, str] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigurationError(f"{where(key, file)}: a name expected, {_kind(key)} found")
        if key.value in seen:
            raise ConfigurationError(
                f"{where(key, file)}: {shown(key.value)} is given twice, first at {seen[key.value]}"
            )
        seen[key.value] = where(key, file)
        yield key.value, key, value


def scalar(node: yaml.Node, file: str, name: str, expected: str, *, switch: bool = False) -> Text:
    """The text of a single value.  ``switch``: YAML's own true and false are meant."""
    at = f"{where(node, file)}: {name}"
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigurationError(f"{at}: {expected} expected, {_kind(node)} found")
    if is_null(node):
        raise ConfigurationError(f"{at}: {expected} expected, no value found")
    if node.tag not in _PLAIN_TAGS:
        raise ConfigurationError(f"{at}: {expected} expected, a value tagged {node.tag!r} found")
    if node.tag == _BOOL and not switch:
        raise ConfigurationError(f"{at}: {expected} expected, yes or no found (put {node.value!r} in quotes if meant)")
    return Text(node.value, at)


def _texts(option: Option, node: yaml.Node, file: str) -> Iterator[Text]:
    expected = f"a value ({option.metavar})" if option.metavar else "true or false"
    if not isinstance(node, yaml.SequenceNode):
        yield scalar(node, file, option.name, expected, switch=not option.metavar)
        return
    if not option.repeatable:
        raise ConfigurationError(f"{where(node, file)}: {option.name}: only one value expected, a list found")
    for item in node.value:
        yield scalar(item, file, option.name, expected)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else f"the value {shown(str(node.value))}"


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        loader = yaml.SafeLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{file}:{line}: character {error.character!r} is not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigurationError(f"{file}:{line}: no valid YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise ConfigurationError(f"{file}:1: no valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigurationError(f"{file}:1: no valid YAML: {first}") from None
