"""What every balancing algorithm offers, and what it knows of a node.  Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar


class BalancedNode:
    """What balancing knows of a node; the pool's Node adds the rest."""

    __slots__ = ("address", "due", "in_flight", "pace", "start", "ticket", "turns", "weight")

    def __init__(self, address: str, weight: int) -> None:
        self.address = address
        #: Its share among the nodes; and how much of that it has, where shares grow (ramp.py), counted in already.
        self.weight = weight
        self.pace = 1
        #: Requests that it has now.
        self.in_flight = 0
        #: These belong to its picker: when it joined, turns since then, when the next turn is due (virtual time), and
        #: what makes its entry in a heap valid.
        self.start = 0
        self.turns = 0
        self.due = 0
        self.ticket = -1


M = TypeVar("M", bound=BalancedNode)


class Picker(ABC, Generic[M]):
    """One algorithm over the available nodes."""

    @abstractmethod
    def __len__(self) -> int:
        """How many nodes may be chosen."""

    @abstractmethod
    def add(self, member: M) -> None:
        """``member`` may be chosen from now on."""

    @abstractmethod
    def remove(self, member: M) -> None:
        """``member`` may not be chosen any more."""

    def restore(self, member: M) -> None:
        """``member``, which was taken out only because it had all the requests that it may have, has fewer again."""
        self.add(member)

    def reweigh(self, member: M, weight: int, pace: int) -> None:
        """``member`` has another share from now on, and keeps its turn as far as it has one."""
        self.remove(member)
        member.weight, member.pace = weight, pace
        self.add(member)

    @abstractmethod
    def choose(self, client: bytes) -> M | None:
        """The node for the next request of ``client`` (REMOTE_ADDR); ``None`` when there is none."""

    @abstractmethod
    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """As :meth:`choose`, but none of ``tried``, which are members, and keep their turns."""

    def changed(self, member: M) -> None:
        """``member.in_flight`` changed (told only for :data:`COUNTING`)."""
