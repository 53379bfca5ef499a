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
from fastroute.router.address import Address
from fastroute.router.config import option_types as types
from fastroute.router.config.configuration import ConfigurationError, Option, convert, did_you_mean, shown
from fastroute.router.config.configuration_file import document, is_null, pairs, read_mapping, where
from fastroute.router.key import parse_key
from fastroute.router.subscription import ALGORITHMS, MAX_FIELD, MAX_LEVEL, MAX_WEIGHT, Entry

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
        Option("weight", types.whole(0, MAX_WEIGHT), "N", ""),
        Option("backup", types.whole(0, MAX_LEVEL), "N", ""),
        Option("algorithm", types.choice(ALGORITHMS), "NAME", ""),
        Option("modifier1", types.whole(0, 255), "N", ""),
        Option("modifier2", types.whole(0, 255), "N", ""),
        Option("protocol", types.choice(("uwsgi", "http")), "PROTOCOL", ""),
        Option("probe", probe, "PROBE", ""),
    )
}


def read_static(data: bytes, file: str) -> tuple[StaticNode, ...]:
    """The nodes that ``data`` describes; ``ConfigurationError`` with FILE:LINE when anything is wrong with it."""
    root = document(data, file)
    if root is None or is_null(root):
        # Half-written files are empty; whoever wants no nodes can say so.
        raise ConfigurationError(f"{file}:1: nodes: expected, nothing found (nodes: [] says that there are none)")
    found: dict[tuple[str, str], StaticNode] = {}
    for name, key, value in pairs(root, file, "nodes:"):
        if name != "nodes":
            raise ConfigurationError(
                f"{where(key, file)}: {shown(name)}: nodes: expected{did_you_mean(name, ['nodes'])}"
            )
        if not isinstance(value, yaml.SequenceNode):
            raise ConfigurationError(f"{where(value, file)}: nodes: a list expected (- key: ...)")
        for item in value.value:
            for node in _nodes(item, file):
                if twin := found.get((node.entry.key, node.entry.address)):
                    again = f"{shown(node.entry.key)} at {node.entry.address} is given twice"
                    raise ConfigurationError(f"{node.at}: {again}, first at {twin.at}")
                found[node.entry.key, node.entry.address] = node
    return _with_algorithms(found)


def _nodes(item: yaml.Node, file: str) -> list[StaticNode]:
    given = read_mapping(_OPTIONS, item, file, "key and address of a node")
    for name in ("key", "address"):
        if not given.get(name):
            raise ConfigurationError(f"{where(item, file)}: nodes: {name} is missing")
    values: Mapping[str, Any] = {name: convert(_OPTIONS[name], texts).value for name, texts in given.items()}
    rest = {name: values[name] for name in values if name not in ("key", "address", "weight", "probe")}
    weight = values.get("weight", 1)
    return [
        StaticNode(
            Entry(key, str(address), weight=weight, drain=not weight, owner=OWNER, **rest),
            values.get("probe", "none"),
            where(item, file),
        )
        for key in dict.fromkeys(values["key"])
        for address in dict.fromkeys(values["address"])
    ]


def _with_algorithms(found: Mapping[tuple[str, str], StaticNode]) -> tuple[StaticNode, ...]:
    """An algorithm is the whole key's, whichever of its nodes names it."""
    named: dict[str, StaticNode] = {}
    for node in found.values():
        if node.entry.algorithm:
            first = named.setdefault(node.entry.key, node)
            if first.entry.algorithm != node.entry.algorithm:
                text = f"algorithm of {shown(node.entry.key)}: {node.entry.algorithm}, but {first.entry.algorithm}"
                raise ConfigurationError(f"{node.at}: {text} at {first.at}; one key has one")
    return tuple(
        replace(node, entry=replace(node.entry, algorithm=named[node.entry.key].entry.algorithm))
        if node.entry.key in named
        else node
        for node in found.values()
    )
