"""``workers:`` of the YAML file: workers that the router runs itself.  Here only how they are written."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

import yaml

from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.configuration import ConfigurationError, Option, convert, did_you_mean, shown
from fastroute.router.config.configuration_file import is_null, pairs, read_mapping, scalar, where
from fastroute.router.config.worker import WorkerSettings
from fastroute.router.protocol.key import parse_key
from fastroute.router.protocol.node_options import ALL_SETTINGS, take_options

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_FIELD = re.compile(r"\{([^{}]*)\}")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{shown(text)}: a name of letters, digits, '-', '_' and '.' expected")
    return text


def _command(text: str) -> str:
    if others := [name for name in _FIELD.findall(text) if name != "port"]:
        raise ValueError(
            f"{shown('{' + others[0] + '}')}: only {{port}} is replaced{did_you_mean(others[0], ['port'])}"
        )
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)}: a command expected: {error}") from None
    if not words or "{port}" not in text:
        raise ValueError(f"{shown(text)}: a command with {{port}} in it expected")
    return text


_OPTIONS = {
    option.name: option
    for option in (
        Option("name", _name, "NAME", ""),
        Option("key", parse_key, "KEY", "", repeatable=True),
        Option("command", _command, "COMMAND", ""),
        Option("count", types.whole(1, 1000), "N", ""),
        Option("cwd", file_types.directory, "DIR", ""),
        *(Option(setting.name, setting.read, setting.metavar, "") for setting in ALL_SETTINGS),
        Option("probe", types.probe, "tcp|PATH|none", ""),
        Option("restart", types.choice(("always", "on-failure", "never")), "WHEN", ""),
    )
}


def read_workers(node: yaml.Node, file: str) -> tuple[WorkerSettings, ...]:
    """The entries of ``workers:``, checked."""
    if is_null(node):
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(f"{where(node, file)}: workers: a list expected (- name: ...)")
    workers: list[WorkerSettings] = []
    for item in node.value:
        worker = _worker(item, file)
        if twin := next((other for other in workers if other.name == worker.name), None):
            raise ConfigurationError(f"{worker.at}: {shown(worker.name)} is given twice, first at {twin.at}")
        workers.append(worker)
    return tuple(workers)


def _worker(node: yaml.Node, file: str) -> WorkerSettings:
    expected = "name, key and command of a worker"
    fields = {name: value for name, _, value in pairs(node, file, expected)}
    environment = tuple(_environment(fields["environment"], file)) if "environment" in fields else ()
    rest = [(key, value) for key, value in node.value if key.value != "environment"]
    node = yaml.MappingNode(node.tag, rest, node.start_mark, node.end_mark)
    given = dict(read_mapping(_OPTIONS, node, file, expected))
    for name in ("name", "key", "command"):
        if not given.get(name):
            raise ConfigurationError(f"{where(node, file)}: workers: {name} is missing")
    folder = os.path.dirname(os.path.abspath(file))
    if "cwd" in given:
        given["cwd"] = [replace(text, value=os.path.join(folder, text.value)) for text in given["cwd"]]
    values = {name: convert(_OPTIONS[name], texts).value for name, texts in given.items()}
    values.setdefault("cwd", folder)
    options = take_options(values)
    return WorkerSettings(**values, options=options, environment=environment, at=where(node, file))


def _environment(node: yaml.Node, file: str) -> Iterator[tuple[str, str]]:
    for name, key, value in pairs(node, file, "environment: variables (NAME: value)"):
        if not name or "=" in name or "\0" in name:
            raise ConfigurationError(f"{where(key, file)}: {shown(name)}: the name of a variable expected")
        yield name, scalar(value, file, name, "a text", switch=True).value
