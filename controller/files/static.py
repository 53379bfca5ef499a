"""Nodes outside Docker: what a ``--static`` file says, or what is wrong with it and where.  Pure.

::

    nodes:
      - key: shop.example.com              # one or a list; as the label fastroute.key
        address: 10.0.0.7:8000             # one or a list: ip:port, [v6]:port, name:port, /path/of/a/socket
        weight: 2                          # these as the labels of the same names, with the same defaults,
        probe: /health                     # but probe: none unless given

Reading is strict: one mistake, and the whole file counts for nothing (its last good content stays).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from fastroute.controller.decide.labels import probe
from fastroute.router.config import option_types as types
from fastroute.router.config.configuration import ConfigurationError, Option, convert, did_you_mean, shown
from fastroute.router.config.configuration_file import document, is_null, pairs, read_mapping, where
from fastroute.router.protocol.address import Address
from fastroute.router.protocol.entry import MAX_FIELD
from fastroute.router.protocol.key import parse_key
from fastroute.router.protocol.node_options import (
    ALL_SETTINGS,
    KEY_SETTINGS,
    MAX_WEIGHT,
    non_defaults,
    take_options,
    text_of,
    with_key_options,
)
from fastroute.router.protocol.subscription import Entry

#: The owner of static nodes on the wire.
OWNER = "static"


@dataclass(frozen=True, slots=True)
class StaticNode:
    """One node.  ``entry`` as it goes on the wire; ``probe`` is ``none``, ``tcp`` or a path; ``at``: FILE:LINE."""

    entry: Entry
    probe: str
    at: str


def _address(text: str) -> Address:
    address = types.node_address(text)
    if len(str(address)) > MAX_FIELD or address.path.startswith("."):
        raise ValueError(f"{shown(text)}: ip:port, [v6]:port, name:port or an absolute path expected")
    return address


_OPTIONS = {
    option.name: option
    for option in (
        Option("key", parse_key, "KEY", "", repeatable=True),
        Option("address", _address, "ADDRESS", "", repeatable=True),
        *(Option(setting.name, setting.read, setting.metavar, "") for setting in ALL_SETTINGS),
        # As the label: 0 drains.
        Option("weight", types.whole(0, MAX_WEIGHT), "N", ""),
        Option("probe", probe, "PROBE", ""),
    )
}


def read_static(data: bytes, file: str) -> tuple[StaticNode, ...]:
    """The nodes that ``data`` describes; ``ConfigurationError`` with FILE:LINE when anything is wrong with it."""
    root = document(data, file)
    if root is None or is_null(root):
        # Half-written files are empty; whoever wants no nodes can say so.
        raise ConfigurationError(f"{file}:1: nodes: expected, nothing found (nodes: [] says that there are none)")
    nodes: dict[tuple[str, str], StaticNode] = {}
    for name, key, value in pairs(root, file, "nodes:"):
        if name != "nodes":
            raise ConfigurationError(
                f"{where(key, file)}: {shown(name)}: nodes: expected{did_you_mean(name, ['nodes'])}"
            )
        if not isinstance(value, yaml.SequenceNode):
            raise ConfigurationError(f"{where(value, file)}: nodes: a list expected (- key: ...)")
        for item in value.value:
            for node in _nodes(item, file):
                if twin := nodes.get((node.entry.key, node.entry.address)):
                    again = f"{shown(node.entry.key)} at {node.entry.address} is given twice"
                    raise ConfigurationError(f"{node.at}: {again}, first at {twin.at}")
                nodes[node.entry.key, node.entry.address] = node
    return _with_key_options(nodes)


def _nodes(item: yaml.Node, file: str) -> list[StaticNode]:
    given = read_mapping(_OPTIONS, item, file, "key and address of a node")
    for name in ("key", "address"):
        if not given.get(name):
            raise ConfigurationError(f"{where(item, file)}: nodes: {name} is missing")
    values: dict[str, Any] = {name: convert(_OPTIONS[name], texts).value for name, texts in given.items()}
    options = take_options(values)
    return [
        StaticNode(
            Entry(key, str(address), options, drain=not options.weight, owner=OWNER),
            values.get("probe", "none"),
            where(item, file),
        )
        for key in dict.fromkeys(values["key"])
        for address in dict.fromkeys(values["address"])
    ]


def _with_key_options(nodes: Mapping[tuple[str, str], StaticNode]) -> tuple[StaticNode, ...]:
    """A setting of the key holds for all of its nodes, whichever of them says it."""
    shared: dict[str, dict[str, tuple[object, str]]] = {}
    for node in nodes.values():
        key = node.entry.key
        for name, value in non_defaults(node.entry.options, KEY_SETTINGS).items():
            first, at = shared.setdefault(key, {}).setdefault(name, (value, node.at))
            if first != value:
                text = f"{name} of {shown(key)}: {text_of(value)}, but {text_of(first)} at {at}; one key has one"
                raise ConfigurationError(f"{node.at}: {text}")
    return tuple(_with(node, shared.get(node.entry.key, {})) for node in nodes.values())


def _with(node: StaticNode, shared: Mapping[str, tuple[object, str]]) -> StaticNode:
    options = with_key_options(node.entry.options, {name: value for name, (value, _) in shared.items()})
    return replace(node, entry=replace(node.entry, options=options))
