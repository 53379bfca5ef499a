"""What operators change at run time: drain, undrain, weight, of one node at a time.  Pure.

A change stands over what announcers say, through heartbeats, restarts and snapshots, until it is undone or the node's
owners end: it is bound to the claims that the node has when it is made, and goes with the last of them, so that whoever
gets the address next begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastroute.router.control.table.membership import Member, Note, Override
from fastroute.router.control.table.sources import RecordId
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import MAX_SESSIONS
from fastroute.router.protocol.node_options import MAX_WEIGHT
from fastroute.router.protocol.override_target import (
    AmbiguousTarget,
    ContainerMatch,
    NodeForm,
    match_container,
    node_forms,
)
from fastroute.router.runtime.json_text import read_json

#: Nodes looked at between two pauses: about a millisecond of work.
NODES_PER_TURN = 500

NodeName = tuple[str, str]


class ChangeError(ValueError):
    """The change is invalid; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator wants of a node."""

    #: ``drain``, ``undrain`` or ``weight``.
    verb: str
    #: 0 to 65535, for ``weight``; None: as announced again.
    weight: int | None = None
    #: For ``drain``: seconds for which the node's own clients still get it.
    sessions: float = 0.0

    @property
    def text(self) -> str:
        """For people."""
        weight = "" if self.verb != "weight" else " as announced" if self.weight is None else f" {self.weight}"
        sessions = f", its sessions {self.sessions:g} s later" if self.sessions else ""
        return f"{self.verb}{weight}{sessions}, by an operator"


def read_change(verb: str, body: bytes) -> tuple[str, Change]:
    """Target and change in the JSON ``body`` of a POST; ``ChangeError`` when it is not as expected."""
    try:
        request = read_json(body)
    except ValueError:
        request = None
    more = {"weight": "N", "drain": "S"}.get(verb)
    name = {"weight": "weight", "drain": "sessions"}.get(verb, "")
    expected = '{"target": "..."' + (f', "{name}": {more}}}' if more else "}")
    if not isinstance(request, dict) or not isinstance(request.get("target"), str) or not request["target"].strip():
        raise ChangeError(f"a JSON object like {expected} expected")
    if unknown := sorted(set(request) - {"target", *([name] if name else [])}):
        raise ChangeError(f"{unknown[0][:40]!r} is not known here: {expected} expected")
    if verb != "weight":
        return request["target"].strip(), Change(verb, sessions=_sessions(request.get("sessions", 0)))
    weight = request.get("weight", -1)
    if weight is not None and (type(weight) is not int or not 0 <= weight <= MAX_WEIGHT):
        raise ChangeError(f"weight: a whole number from 0 to {MAX_WEIGHT} expected, or null for what was announced")
    return request["target"].strip(), Change(verb, weight)


def _sessions(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SESSIONS:
        raise ChangeError(f"sessions: a number of seconds from 0 to {MAX_SESSIONS:g} expected")
    return round(float(value), 3)


def apply(table: Table, node: NodeName, change: Change) -> bool:
    """Make ``change`` of ``node`` (key and address); False when it is not there."""
    member = table.member(*node)
    if member is None or not member.claims:
        return False
    old = member.override or Override(frozenset())
    # A weight of 0 drains, so undraining ends it, too.
    weight = None if change.verb == "undrain" and old.weight == 0 else old.weight
    new = replace(
        old,
        claims=frozenset(member.claims),
        drain={"drain": True, "undrain": False}.get(change.verb, old.drain),
        weight=change.weight if change.verb == "weight" else weight,
        sessions={"drain": change.sessions, "undrain": 0.0}.get(change.verb, old.sessions),
    )
    member.override = new if new.drain or new.weight is not None else None
    if new.sessions:
        table.session_ends[node] = None
    table.dirty_nodes[node] = None
    table.notes.append(Note("node-changed", *node, change.text))
    return True


def end_sessions(table: Table, now: float) -> None:
    """End the sessions of drained nodes whose time is over; it begins when this is called first after the drain."""
    for node, until in [*table.session_ends.items()]:
        member = table.member(*node)
        if member is None or member.override is None or not member.override.sessions:
            del table.session_ends[node]
        elif until is None:
            table.session_ends[node] = now + member.override.sessions
        elif until <= now:
            del table.session_ends[node]
            member.override = replace(member.override, sessions=0.0)
            table.dirty_nodes[node] = None


def rows(table: Table) -> list[list[Any]]:
    """All overrides, for the snapshot."""
    return [
        [
            pool.name,
            member.address,
            # As a number where there are sessions: a version that knows none takes it for True.
            member.override.sessions or member.override.drain,
            member.override.weight,
            sorted(member.override.claims),
        ]
        for pool in table.pools.values()
        for member in pool.members.values()
        if member.override is not None
    ]


def restore(table: Table, rows: Iterable[list[Any]]) -> None:
    """What :func:`rows` returned, for the nodes that are there again."""
    for key, address, drain, weight, claims in rows:
        if (member := table.member(key, address)) is not None:
            bound = frozenset(RecordId(*claim) for claim in claims)
            sessions = 0.0 if isinstance(drain, bool) else float(drain)
            member.override = Override(bound, bool(drain), None if weight is None else int(weight), sessions)
            if sessions:
                table.session_ends[key, address] = None


def find(table: Table, target: str) -> Iterator[list[NodeName] | None]:
    """The nodes that ``target`` names (override_target.py), last; before it None whenever others should have a turn.

    ``AmbiguousTarget`` when it is the beginning of the ids of several containers.
    """
    matches: dict[ContainerMatch, dict[str, list[NodeName]]] = {match: {} for match in ContainerMatch}
    for number, (name, member) in enumerate(_members(table)):
        if number % NODES_PER_TURN == NODES_PER_TURN - 1:
            yield None
        for container in {record.owner.partition("@")[0] for record in member.claims if "@" in record.owner}:
            if match := match_container(target, container):
                matches[match].setdefault(container, []).append(name)
    containers = matches[ContainerMatch.EXACT] or matches[ContainerMatch.PREFIX]
    if len(containers) > 1:
        raise AmbiguousTarget(target, (container[:12] for container in containers))
    if containers:
        yield next(iter(containers.values()))
        return
    yield next((nodes for form in node_forms(target) if (nodes := _nodes(table, form))), [])


def _nodes(table: Table, form: NodeForm) -> list[NodeName]:
    pools = [pool for key in dict.fromkeys(form.keys) if (pool := table.pools.get(key))] if form.keys else None
    addresses = {form.address, *table.hosts.behind(form.address)} if form.address else None
    return [
        (pool.name, address)
        for pool in (table.pools.values() if pools is None else pools)
        for address in (pool.members if addresses is None else addresses)
        if address in pool.members
    ]


def _members(table: Table) -> Iterator[tuple[NodeName, Member]]:
    for name in list(table.pools):
        if (pool := table.pools.get(name)) is not None:
            for address in list(pool.members):
                if (member := pool.members.get(address)) is not None:
                    yield (name, address), member
