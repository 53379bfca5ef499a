"""The stats socket: connect, read to the end, and have the JSON of uWSGI's FastRouter.  One edge.

Same fields and meanings, so that what reads the original's stats reads ours; numbers are summed over all relays.
``pid``, ``uid`` and ``gid`` of a node are 0 (nobody's credentials are asked for), and so is ``wrr`` (each relay has its
own).  A draining or ejected node has ``death_mark`` 1: it gets no new requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator

import fastroute
from fastroute.router.admin_http.connections import ACCEPTS, READER
from fastroute.router.control.control import Control
from fastroute.router.control.status import MAX_NODES_PER_PIECE, StatusContext, last_seen, serving, state_of
from fastroute.router.control.table.membership import AnnouncedPool, Member, uwsgi_hash
from fastroute.router.protocol.address import Address

#: Seconds that a reader has to take its answer.
WRITE_TIMEOUT = 10.0


class _Reader:
    """What reads one connection; :mod:`fastroute.router.admin_http.connections` holds it."""

    waits_for = READER

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.since = time.monotonic()

    def end(self) -> None:
        """Close the connection now."""
        self._writer.transport.abort()


async def serve(control: Control, sockets: list[socket.socket]) -> None:
    """Answer on ``sockets`` (listening already), for ever."""

    connections = control.connections["stats"]

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader = _Reader(writer)
        connections.add(reader)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                for piece in render(control):
                    writer.write(piece.encode("latin-1", "replace"))
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            connections.too_slow(reader)
        except OSError:
            pass
        finally:
            connections.remove(reader)
            reader.end()

    async with contextlib.AsyncExitStack() as servers:
        for sock in sockets:
            await servers.enter_async_context(await asyncio.start_server(answer, sock=sock, backlog=ACCEPTS))
        await asyncio.get_running_loop().create_future()


def render(control: Control) -> Iterator[str]:
    """The pieces of the JSON, which is pretty-printed with tabs as the original's is."""
    settings = control.settings
    head = {
        "version": fastroute.__version__,
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "cwd": os.getcwd(),
        "active_sessions": control.counters.in_flight,
        "fastrouter": control.bound,
    }
    if settings.to:
        head["static_nodes"] = [_static(control, address) for address in settings.to]
    yield json.dumps(head, indent="\t")[:-2]
    if settings.subscription_server or control.table.pools:
        yield from _subscriptions(control)
    yield f',\n\t"cheap": {int(control.cheap)}\n}}\n'


def _static(control: Control, address: Address) -> dict[str, object]:
    """What the JSON has of a node of ``fastrouter-to``; ``grace`` is when it failed last, 0 if it never did."""
    counters = [control.counters.own(target) for target in control.configured_nodes.targets(address)]
    return {
        "name": str(address),
        "hits": sum(node.requests for node in counters),
        "grace": int(max((node.failed_at for node in counters), default=0)),
    }


def _subscriptions(control: Control) -> Iterator[str]:
    yield ',\n\t"subscriptions": ['
    separator = "\n"
    context = _scene(control)
    for name in list(control.table.pools):
        if (pool := control.table.pools.get(name)) is not None and pool.members:
            yield separator
            yield from _pool(context, pool)
            separator = ",\n"
    yield "\n\t]"


def _pool(context: StatusContext, pool: AnnouncedPool) -> Iterator[str]:
    head = {
        "key": pool.name,
        "hash": uwsgi_hash(pool.name),
        "hits": context.counters.hits(pool.name),
        "sni_enabled": 0,
        "algo": pool.options.algorithm,
    }
    yield "\t\t" + json.dumps(head)[:-1] + ', "nodes": ['
    members = list(pool.members.values())
    for at in range(0, len(members), MAX_NODES_PER_PIECE):
        rows = [
            json.dumps(_node(context, pool.name, member))
            for member in members[at : at + MAX_NODES_PER_PIECE]
            if member.claims
        ]
        yield ("," if at else "") + ",".join(f"\n\t\t\t{row}" for row in rows)
    yield "\n\t\t]}"


def _node(context: StatusContext, key: str, member: Member) -> dict[str, object]:
    counters, entry = context.counters.node(key, member.address), member.entry
    options = entry.options
    return {
        "name": member.address,
        "modifier1": options.modifier1,
        "modifier2": options.modifier2,
        "last_check": int(context.wall - context.now + last_seen(context.table, member)),
        "pid": 0,
        "uid": 0,
        "gid": 0,
        "requests": counters.requests,
        "last_requests": counters.last_requests,
        "tx": counters.tx,
        "rx": counters.rx,
        "cores": entry.cores,
        "load": entry.load,
        "weight": options.weight,
        "backup": options.backup,
        "proto": options.protocol,
        "wrr": 0,
        "ref": counters.in_flight,
        "failcnt": counters.failures,
        "death_mark": int(not serving(state_of(member, counters.ejected))),
    }


def _scene(control: Control) -> StatusContext:
    return StatusContext(control.table, control.counters, time.monotonic(), time.time())
