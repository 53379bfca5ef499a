"""What a TARGET of ``drain``, ``undrain`` and ``weight`` may be, in the router and in the controller.  Pure.

The forms, of which the first that means anything counts:

1. a container: its id, the beginning of its id (:data:`MIN_ID_PREFIX` characters at least), or its name if known;
2. an address;
3. ``KEY@ADDRESS``;
4. a key.

:func:`match_container` is the first form, :func:`node_forms` are the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from fastroute.router.protocol.address import AddressError, parse_address
from fastroute.router.protocol.key import named_key

#: Fewer characters than this would name a container by a slip.
MIN_ID_PREFIX = 4


class AmbiguousTarget(ValueError):
    """The beginning of an id is that of several containers; the message names them."""

    def __init__(self, target: str, containers: Iterable[str]) -> None:
        super().__init__(f"{target[:80]!r} is not one container: {', '.join(sorted(containers)[:4])}")


class ContainerMatch(IntEnum):
    """How a target names a container; a higher match hides the lower ones."""

    NONE = 0
    PREFIX = 1
    EXACT = 2


class NodeForm(NamedTuple):
    """One reading of a target.  ``keys`` empty: of any key; ``address`` empty: at any address."""

    #: As written (a worker may have announced anything), and as the key that people mean by it.
    keys: tuple[str, ...]
    #: In the form that nodes have.
    address: str

    def means(self, key: str, address: str) -> bool:
        """Whether the node of ``key`` at ``address`` is meant."""
        return (not self.keys or key in self.keys) and (not self.address or address == self.address)


def match_container(target: str, id: str, name: str = "") -> ContainerMatch:
    """How ``target`` names the container ``id``."""
    if target in (id, name):
        return ContainerMatch.EXACT
    begins = len(target) >= MIN_ID_PREFIX and id.startswith(target)
    return ContainerMatch.PREFIX if begins else ContainerMatch.NONE


def node_forms(target: str) -> Iterator[NodeForm]:
    """The other readings of ``target``, in order."""
    if address := _address(target):
        yield NodeForm((), address)
    key, _, rest = target.partition("@")
    if key and (address := _address(rest)):
        yield NodeForm((key, named_key(key)), address)
    yield NodeForm((target, named_key(target)), "")


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except AddressError:
        return ""
