"""Numbers of what nobody announced: as many as there may be, and no more."""

from __future__ import annotations

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.counters import Counters
from fastroute.router.control.static_pools import StaticPool, StaticPools
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.static_pools import MAX_MAPPED


def report(pools: StaticPools, counters: Counters, name: str, address: str) -> None:
    counters.update(0, {"nodes": [[name, address, 1, 0, 0, 0, 0, 0]], "keys": [[name, 1]]})
    pools.reported(name)
    pools.reported(name, address)


def test_the_mapped_key_that_was_not_asked_for_the_longest_goes_with_its_numbers() -> None:
    counters = Counters()
    pools = StaticPools(ConfiguredNodes(), counters)
    for number in range(MAX_MAPPED):
        report(pools, counters, f"(mapped){number}.com", f"/run/{number}.com")
    report(pools, counters, "(mapped)0.com", "/run/0.com")
    report(pools, counters, "(mapped)more.com", "/run/more.com")
    found = list(pools)
    assert len(found) == MAX_MAPPED
    assert found[-2:] == [StaticPool(f"{key}.com", f"(mapped){key}.com", (f"/run/{key}.com",)) for key in ("0", "more")]
    nodes, keys = counters.names()
    assert "(mapped)1.com" not in {*keys, *(key for key, _ in nodes)}
    assert (len(nodes), len(keys)) == (MAX_MAPPED, MAX_MAPPED)


def test_an_address_that_the_fallback_no_longer_stands_for_loses_its_numbers() -> None:
    counters = Counters()
    configured = ConfiguredNodes(fallback=(parse_address("app:80"),))
    pools = StaticPools(configured, counters)
    configured.resolved("app:80", ("10.0.0.1",), 0.0)
    report(pools, counters, "(fallback)", "10.0.0.1:80")
    assert list(pools) == [StaticPool("(fallback)", "(fallback)", ("10.0.0.1:80",))]
    configured.resolved("app:80", ("10.0.0.2",), 0.0)
    report(pools, counters, "(fallback)", "10.0.0.1:80")
    assert counters.names() == ([], ["(fallback)"])
