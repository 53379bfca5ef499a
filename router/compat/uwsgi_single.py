"""One uWSGI INI with the options of router and worker: we are the router, and real uWSGI runs with the rest.

``subscribe2`` without a server means this router: its worker is announced by us, once it accepts, at the address of its
socket, so that no address is written twice.  One with a server is left to uWSGI.

An edge only where it looks for uWSGI on PATH, and for the working directory.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastroute.router.config.configuration import ConfigurationError, did_you_mean, shown
from fastroute.router.config.option_types import whole
from fastroute.router.config.uwsgi_ini import Line
from fastroute.router.config.worker import SOCKET_OPTIONS, Subscribed, WorkerSettings
from fastroute.router.protocol.key import parse_key
from fastroute.router.protocol.node_options import ALL_SETTINGS, MAX_WEIGHT, take_options
from fastroute.router.sidecar.pattern import parse_pattern

NAME = "uwsgi"
BINARY = "FASTROUTE_UWSGI"
_PLUGINS = ("plugin", "plugins", "need-plugin", "need-plugins")
#: Plugins that only a router needs.
_ROUTERS = frozenset({"fastrouter", "corerouter"})
#: What we set, whatever the file says: the master announces nothing by itself, and ends when it is told to.
_FORCED = (("master", "true"), ("die-on-term", "true"), ("strict", "true"))
_COMMA = re.compile(r"(?<!\\),")


def worker(lines: Sequence[Line], first: Line, environ: Mapping[str, str]) -> WorkerSettings:
    """The worker of ``lines``, which are those that uWSGI itself is to have; ``first`` is one that only it can have."""
    sockets = [line for line in lines if line.name in SOCKET_OPTIONS]
    weight = next((line for line in lines if line.name == "weight"), None)
    taken, subscribed = set[Line](), list[Subscribed]()
    for line in lines:
        if line.name == "subscribe2":
            fields = _fields(line)
            if not fields.get("server"):
                taken.add(line)
                subscribed.append(_subscribed(line, fields, len(sockets), weight))
    if not sockets or not any(line.name in ("subscribe2", "subscribe-to", "subscribe", "st") for line in lines):
        raise ConfigurationError(
            f"{first.at}: {first.name}: a worker's option; router and worker in one file take socket = ADDR and"
            " subscribe2 = key=HOST as well"
        )
    for line in sockets:
        try:
            parse_pattern(line.value if ":" in line.value or line.value[:1] in "/@" else os.path.abspath(line.value))
        except ValueError as error:
            raise ConfigurationError(f"{line.at}: {line.name}: {error}") from None
    forced = dict(_FORCED)
    options = [(line.name, _value(line)) for line in lines if line not in taken and line.name not in forced]
    options = [(name, value) for name, value in options if value or name not in _PLUGINS]
    return WorkerSettings(
        name=NAME, command=_binary(environ, first), cwd=os.getcwd(), at=first.at,
        uwsgi_options=(*options, *_FORCED), subscribed=tuple(subscribed),
    )  # fmt: skip


def _value(line: Line) -> str:
    if line.name not in _PLUGINS:
        return line.value
    names = [name.strip() for name in line.value.split(",")]
    return ",".join(name for name in names if name.rpartition(":")[2] not in _ROUTERS)


def _fields(line: Line) -> dict[str, str]:
    """``subscribe2``'s pairs; a comma behind a backslash belongs to the value."""
    fields: dict[str, str] = {}
    for item in _COMMA.split(line.value):
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"{line.at}: {line.name}: {shown(item)}: name=value expected, comma separated")
        fields[name.strip()] = value.strip().replace("\\,", ",")
    return fields


def _subscribed(line: Line, fields: Mapping[str, str], sockets: int, weight: Line | None) -> Subscribed:
    values: dict[str, Any] = {}
    if weight is not None:
        values["weight"] = _read(_READERS["weight"][1], weight.value, f"{weight.at}: weight")
    for name, value in fields.items():
        if name == "server":
            continue
        if name not in _READERS:
            hint = did_you_mean(name, _READERS) or f"; {', '.join(_READERS)} expected"
            raise ConfigurationError(f"{line.at}: {line.name}: {shown(name)}: has no meaning without server={hint}")
        field, reader = _READERS[name]
        values[field] = _read(reader, value, f"{line.at}: {line.name}: {name}")
    if "key" not in values:
        raise ConfigurationError(f"{line.at}: {line.name}: key=HOST is missing")
    if not values.get("address") and values.get("socket", 0) >= sockets:
        raise ConfigurationError(f"{line.at}: {line.name}: socket={values.get('socket', 0)}: this file has {sockets}")
    options = take_options(values)
    return Subscribed(**values, options=options)


def _read(reader: Callable[[str], Any], value: str, at: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise ConfigurationError(f"{at}: {error}") from None


def _address(text: str) -> str:
    parse_pattern(text)
    return text


#: Name in subscribe2 -> field and reader.
_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "key": ("key", parse_key),
    "socket": ("socket", whole(0, 1000)),
    "addr": ("address", _address),
    "address": ("address", _address),
    **{setting.wire: (setting.name, setting.read) for setting in ALL_SETTINGS},
    # As uWSGI takes it.
    "weight": ("weight", lambda text: whole(0, MAX_WEIGHT)(text) or 1),
}


def _binary(environ: Mapping[str, str], first: Line) -> str:
    named = environ.get(BINARY, "")
    for name in [named] if named else ["uwsgi", "pyuwsgi"]:
        if program := shutil.which(name, path=environ.get("PATH", os.defpath)):
            return program
    problem = f"{BINARY}={named} is no program" if named else "neither uwsgi nor pyuwsgi is on PATH"
    raise ConfigurationError(f"{first.at}: {first.name}: a worker's option, and {problem} ({BINARY} names it)")
