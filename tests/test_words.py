"""The vocabulary: a name means one thing in the whole package, and files are called by the field's words.

``docs/glossary.md`` has the words.  The lists of exceptions may only shrink.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
PACKAGE = ("router", "controller", "ctl", "certs", "page")

#: Words that stood for something with a name of its own: whoever looks for that name does not find them.
BANNED_IN_FILE_NAMES = frozenset(
    [
        "aside",
        "asked",
        "attention",
        "customs",
        "delivery",
        "estate",
        "family",
        "gate",
        "giver",
        "journal",
        "kept",
        "letter",
        "look",
        "lookout",
        "manner",
        "mirror",
        "place",
        "reserve",
        "said",
        "sides",
        "steer",
        "steering",
        "tally",
        "taker",
        "talk",
        "talker",
        "teller",
        "told",
        "trial",
        "unannounced",
        "untold",
        "verdict",
        "whereabouts",
        "wish",
        "witness",
    ]
)
FILES_TO_RENAME: frozenset[str] = frozenset()

#: A time-out, an interval or a limit says what of: ACK_TIMEOUT, POLL_INTERVAL, MAX_SLEEP.
BANNED_CONSTANTS = frozenset(
    [
        "COUNT",
        "FAREWELLS",
        "GRACE",
        "INTERVAL",
        "LAST_WORDS",
        "LIMIT",
        "LOOK",
        "NAP",
        "PACE",
        "PATIENCE",
        "PAUSE",
        "SETTLE",
        "SETTLED",
        "TICK",
        "TIMEOUT",
        "WAIT",
    ]
)
CONSTANTS_TO_RENAME: frozenset[str] = frozenset()

CLASSES_TO_RENAME: frozenset[str] = frozenset()


def sources() -> Iterator[Path]:
    for room in PACKAGE:
        yield from sorted((TOP / room).rglob("*.py"))


def short(file: Path) -> str:
    return str(file.relative_to(TOP))


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def classes() -> dict[str, list[str]]:
    """The files in which a class of that name is defined."""
    found = defaultdict[str, list[str]](list)
    for file in sources():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(short(file))
    return found


def constants(file: Path) -> Iterator[str]:
    """The names that ``file`` assigns in capitals at its top level."""
    for node in tree(file).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(name, ast.Name) and name.id.isupper():
                    yield name.id


def test_no_two_classes_have_one_name() -> None:
    twice = {name: files for name, files in classes().items() if len(files) > 1}
    assert twice.keys() - CLASSES_TO_RENAME == set(), twice


def test_no_file_is_called_by_a_private_word() -> None:
    private = {short(file) for file in sources() if BANNED_IN_FILE_NAMES & set(re.split(r"_", file.stem))}
    assert private - FILES_TO_RENAME == set()


def test_constants_say_what_they_limit() -> None:
    vague = {f"{short(file)}: {name}" for file in sources() for name in constants(file)
             if name.lstrip("_") in BANNED_CONSTANTS}  # fmt: skip
    assert vague - CONSTANTS_TO_RENAME == set()


@pytest.mark.parametrize("exceptions", [CLASSES_TO_RENAME, FILES_TO_RENAME, CONSTANTS_TO_RENAME])
def test_exceptions_are_still_needed(exceptions: frozenset[str]) -> None:
    twice = {name for name, files in classes().items() if len(files) > 1}
    files = {short(file) for file in sources()}
    vague = {f"{short(file)}: {name}" for file in sources() for name in constants(file)}
    assert exceptions <= twice | files | vague, "remove what is renamed"
