"""The value of the cookie of a node: the same wherever and whenever its container is known, and no address."""

from __future__ import annotations

import re

from support.entries import make_entry

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.relays import snapshot_ops
from fastroute.router.control.table.sessions import session_value
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.subscription import Announcement, Entry

ID, OTHER = "4f5a" * 16, "77aa" * 16


def announced(*entries: Entry, source: str = "ctl", secret: bytes = b"") -> Table:
    table = Table()
    table.session_secret = secret
    instance = {"instance": 1, "seq": 1} if source else {}
    table.apply(Announcement(entries=entries, source=source, **instance), "127.0.0.1", 0.0)  # type: ignore[arg-type]
    return table


def value(address: str, owner: str = "", key: str = "foo.com", secret: bytes = b"", source: str = "ctl") -> str:
    table = announced(make_entry(key, address, owner=owner, sticky="cookie:fr"), secret=secret, source=source)
    pool = table.pools[key]
    return session_value(pool, pool.members[address], secret)


def test_it_stays_with_the_container_through_starts_addresses_and_controllers() -> None:
    first = value("10.0.0.1:80", f"{ID}@1")
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", first)
    assert value("10.0.0.9:80", f"{ID}@2", source="another") == first
    assert value("10.0.0.1:80", f"{ID}@1", secret=b"secret") != first
    assert value("10.0.0.1:81", f"{ID}@1") != first
    assert value("10.0.0.1:80", f"{OTHER}@1") != first


def test_of_other_nodes_it_is_made_of_key_and_address() -> None:
    first = value("10.0.0.1:80", "static")
    assert value("10.0.0.1:80", source="") == first
    assert len({first, value("10.0.0.2:80"), value("10.0.0.1:80", key="bar.com"), value("/run/a.sock"),
                value("10.0.0.1:80", secret=b"s")}) == 5  # fmt: skip


def test_relays_are_told_where_clients_stay_and_only_there() -> None:
    table = announced(make_entry("a.com", "10.0.0.1:80", sticky="cookie:fr"), make_entry("b.com", "10.0.0.1:80"))
    told = {op[1]: op[3] for op in snapshot_ops(table, ConfiguredNodes(), True) if op[0] == "node"}
    assert told["a.com"] == {
        "session": session_value(table.pools["a.com"], table.pools["a.com"].members["10.0.0.1:80"], b"")
    }
    assert told["b.com"] == {}


def test_all_nodes_of_a_key_are_told_anew_when_its_clients_begin_or_cease_to_stay() -> None:
    table = announced(make_entry("a.com", "10.0.0.1:80", owner=f"{ID}@1"))
    for seq, sticky in ((2, "cookie:fr"), (3, "off")):
        table.dirty_nodes.clear()
        entry = make_entry("a.com", "10.0.0.2:80", owner=f"{OTHER}@1", sticky=sticky)
        table.apply(Announcement(entries=(entry,), source="ctl", instance=1, seq=seq), "127.0.0.1", 0.0)
        assert ("a.com", "10.0.0.1:80") in table.dirty_nodes
