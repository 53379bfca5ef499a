"""``--node KEY=ADDR[,weight=..]``: how a fixed node is written.  Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastroute.router.config.configuration import comma_list, did_you_mean, shown
from fastroute.router.config.option_types import node_address
from fastroute.router.config.settings import FixedNode
from fastroute.router.protocol.key import parse_key
from fastroute.router.protocol.node_options import ALL_SETTINGS, take_options

#: How they are written, for people.
ATTRIBUTES = ", ".join(f"{setting.name}={setting.metavar}" for setting in ALL_SETTINGS)
_READERS: dict[str, Callable[[str], Any]] = {setting.name: setting.read for setting in ALL_SETTINGS}
_ATTRIBUTE = re.compile(r"[a-z]+[12]?=[a-z0-9.]*")


def fixed_node(text: str) -> FixedNode:
    """The node that ``text`` writes."""
    node, *attributes = text.split(",")
    key, equals, address = node.partition("=")
    if not equals:
        raise ValueError(f"{shown(text)}: KEY=ADDR[,weight=N] expected (like foo.com=127.0.0.1:8000)")
    given: dict[str, Any] = {}
    for attribute in attributes:
        name, _, value = attribute.strip().partition("=")
        if name not in _READERS:
            known = did_you_mean(name, _READERS) or f"; {', '.join(_READERS)} expected"
            raise ValueError(f"{shown(text)}: {shown(name)}: unknown attribute{known}")
        try:
            given[name] = _READERS[name](value)
        except ValueError as error:
            raise ValueError(f"{shown(text)}: {name}: {error}") from None
    return FixedNode(parse_key(key.strip()), node_address(address.strip()), take_options(given))


def split_nodes(text: str) -> list[str]:
    """The nodes of a comma separated list; what looks like an attribute belongs to the node before it."""
    nodes: list[str] = []
    for item in comma_list(text):
        if nodes and _is_attribute(item):
            nodes[-1] += f",{item}"
        else:
            nodes.append(item)
    return nodes


def _is_attribute(item: str) -> bool:
    """Whether ``item`` is an attribute, or a misspelt one, and no further node."""
    name, _, value = item.partition("=")
    try:
        if name in _READERS:
            _READERS[name](value)
            return True
    except ValueError:
        pass
    return _ATTRIBUTE.fullmatch(item) is not None
