"""A relay lets the share of a node that joined grow as time passes.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest
from fuzz.world import Script, World
from support.waiting_world import answer, arrived, ask, play

from fastroute.router.relay import loop

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

KNOWN = ["pool", "foo.com", {"algorithm": "wrr", "wait": 0.0}]


def serve(world: World, requests: int) -> Generator[float, None, Counter[int]]:
    """So many requests, one after the other: which node had how many."""
    by: Counter[int] = Counter()
    for _ in range(requests):
        client = ask(world)
        yield 0
        arrived(world)
        (worker,) = (worker for worker in world.served if worker.sock is not None and worker.packet())
        by[world.addresses.index(worker.address)] += 1
        answer(world, client)
        yield 0
        client.read()
        world.served[:] = [worker for worker in world.served if worker.sock is not None]
    return by


def test_a_node_that_joins_gets_more_and_more_until_it_has_its_share() -> None:
    def script(world: World) -> Script:
        world.tell(["node", "foo.com", world.addresses[0], {"ramp": 30.0}])
        yield 0
        assert (yield from serve(world, 10)) == {0: 10}, "the only node gets everything at once"
        yield 40.0
        world.tell(["node", "foo.com", world.addresses[1], {"ramp": 30.0}])
        yield 0
        seen = []
        for _ in range(4):
            seen.append((yield from serve(world, 60))[1])
            yield 11.0
            yield from serve(world, 1)
        assert seen == sorted(seen)
        assert seen[0] <= 2
        assert 10 <= seen[1] <= 25
        assert seen[3] == 30

    play(script, KNOWN)
