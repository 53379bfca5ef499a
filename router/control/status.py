"""What ``/v1/status`` shows: pools and counters as the JSON of docs/reference/http.md.  Pure.

10,000 keys rendered in one go would hold the control loop for a tenth of a second, so the text comes in pieces of at
most ``MAX_NODES_PER_PIECE`` nodes; the table may change between two of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastroute.router.control.answer_counts import CLASSES, AnswerCounts, recent
from fastroute.router.control.counters import Counters
from fastroute.router.control.table.key_states import HeldState
from fastroute.router.control.table.membership import AnnouncedPool, Member
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.key_state import SERVING
from fastroute.router.protocol.node_options import balancing_fields, https_fields
from fastroute.router.runtime.logs import timestamp

SCHEMA = "fastroute.status/v1"
#: Nodes (or empty pools) in one piece: about a millisecond of work.
MAX_NODES_PER_PIECE = 50

_WORKER = "worker"
_NO_STATUSES = (0,) * len(CLASSES)


@dataclass(frozen=True, slots=True)
class StatusContext:
    """Where to look: ``now`` is monotonic, ``wall`` seconds since the epoch, both of this moment."""

    table: Table
    counters: Counters
    now: float
    wall: float


def state_of(member: Member, ejected: bool) -> str:
    """``ready``, ``draining``, ``ejected`` or ``stale``."""
    if member.draining:
        return "draining"
    if ejected or member.own:
        return "ejected"
    return "stale" if member.stale else "ready"


def container_of(member: Member) -> str | None:
    """The id of the container that the node is announced for, if it is for one."""
    container, at, _ = member.entry.owner.partition("@")
    return container if at else None


def key_state(held: HeldState | None, now: float, wall: float) -> dict[str, object]:
    """What a key is held in: ``state``, when it ends (``until``), ``message`` and ``allow``."""
    left = None if held is None else held.left(now)
    return {
        "state": SERVING if held is None else held.state.name,
        "until": None if left is None else timestamp(wall + left),
        "message": "" if held is None else held.state.message,
        "allow": [] if held is None else list(held.state.allow),
    }


def serving(state: str) -> bool:
    """Whether a node in ``state`` gets new requests: a stale one still does."""
    return state in ("ready", "stale")


def last_seen(table: Table, member: Member) -> float:
    """Monotonic time of the last word of anybody who announced ``member``: heartbeats count for all its nodes."""
    times = [member.last_seen]
    for record in member.claims:
        if (source := table.sources.get(record.source)) is not None:
            times.append(source.seen)
    return max(times)


def render(context: StatusContext, router: Mapping[str, object]) -> Iterator[str]:
    """The whole status in pieces."""
    head = json.dumps({"schema": SCHEMA, "router": router, "controller": None})
    yield head[:-1] + ', "keys": ['
    separator, texts, room = "", list[str](), MAX_NODES_PER_PIECE
    for name in sorted(context.table.pools):
        if (pool := context.table.pools.get(name)) is None:
            continue
        for text, cost in _pool_texts(context, pool):
            texts.append(separator + text)
            separator, room = "", room - cost
            if room <= 0:
                yield "".join(texts)
                texts, room = [], MAX_NODES_PER_PIECE
        separator = ", "
    yield "".join(texts) + "]}\n"


def render_key(context: StatusContext, pool: AnnouncedPool) -> Iterator[str]:
    """One key, in pieces."""
    yield f'{{"schema": {json.dumps(SCHEMA)}, '
    for number, (text, _) in enumerate(_pool_texts(context, pool)):
        yield text if number else text[1:]
    yield "\n"


def _pool_texts(context: StatusContext, pool: AnnouncedPool) -> Iterator[tuple[str, int]]:
    """The pool's object as texts of at most ``MAX_NODES_PER_PIECE`` nodes, each with the number of nodes it cost."""
    members = [pool.members[address] for address in sorted(pool.members)]
    head = {
        "key": pool.name,
        "algorithm": pool.options.algorithm,
        **https_fields(pool.options),
        **balancing_fields(pool.options),
        "requests": context.counters.hits(pool.name),
        **key_state(context.table.states.of(pool.name), context.now, context.wall),
        "wait": pool.options.wait or 0,
        "waiting": context.counters.waiting(pool.name),
        **_answer_fields(context, context.counters.answers(pool.name)),
    }
    yield json.dumps(head)[:-1] + ', "nodes": [', 1
    ready = total = 0
    for at in range(0, len(members), MAX_NODES_PER_PIECE):
        nodes = [
            _node(context, pool.name, member) for member in members[at : at + MAX_NODES_PER_PIECE] if member.claims
        ]
        separator = ", " if total and nodes else ""
        ready += sum(serving(str(node["state"])) for node in nodes)
        total += len(nodes)
        yield separator + ", ".join(map(json.dumps, nodes)), len(nodes)
    yield f'], "ready": {ready}, "total": {total}}}', 0


def _answer_fields(context: StatusContext, counts: AnswerCounts | None) -> dict[str, object]:
    """Requests a second and how long answers took, of late; and answers by class, ever."""
    rate, error_rate, p50, p95 = recent(counts, context.now, context.counters.begun)
    return {
        "rate": round(rate, 2),
        "error_rate": round(error_rate, 2),
        "p50_ms": None if p50 is None else round(p50 * 1000, 2),
        "p95_ms": None if p95 is None else round(p95 * 1000, 2),
        "statuses": dict(zip(CLASSES, counts.statuses if counts is not None else _NO_STATUSES, strict=True)),
    }


def _node(context: StatusContext, key: str, member: Member) -> dict[str, object]:
    counters = context.counters.node(key, member.address)
    chief = member.chief
    return {
        "address": member.address,
        "state": state_of(member, counters.ejected),
        "source": chief.id.source or _WORKER,
        "container": container_of(member),
        "weight": member.weight,
        "backup": chief.entry.options.backup,
        "max": chief.entry.options.max,
        "ramp": chief.entry.options.ramp,
        "zone": chief.entry.options.zone or None,
        "sessions": member.sessions,
        "requests": counters.requests,
        "in_flight": counters.in_flight,
        "failures": counters.failures,
        "timeouts": counters.timeouts,
        "ejections": counters.ejections,
        "reason": counters.reason if counters.ejected else "",
        **_answer_fields(context, counters.answers),
        "tx": counters.tx,
        "rx": counters.rx,
        "last_seen": timestamp(context.wall - context.now + last_seen(context.table, member)),
    }
