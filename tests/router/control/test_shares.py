"""What relays that only finish what they have leave of each ``max``: together never more than that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry

from fastroute.router.control.configured_nodes import Op
from fastroute.router.control.relays import node_op
from fastroute.router.control.shares import SILENCE_LIMIT, STRICT_TIME, LeavingShares
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.subscription import Announcement
from fastroute.router.relay.limits import share_of

A, B = "10.0.0.1:80", "10.0.0.2:80"
SERVING, LEAVING = 2, (2, 3)


def table_of(limit: int = 6, wait: float | None = 30) -> Table:
    table = Table(tolerance=1e9)
    entries = [make_entry("foo.com", address, max=limit, wait=wait) for address in (A, B)]
    table.apply(Announcement(source="c", instance=1, seq=1, entries=(*entries, make_entry("bar.com", A))), "", 0.0)
    return table


def shares_of(table: Table) -> LeavingShares:
    return LeavingShares(table, LEAVING, SERVING)


def test_until_all_have_said_what_they_use_it_is_all() -> None:
    shares = shares_of(table_of())
    assert shares.taken("foo.com", A) == 6
    assert shares.taken("bar.com", A) == 0
    assert shares.heard(2, "held", [["foo.com", A, 2]]) == []
    assert shares.heard(2, "leaving", []) == []
    assert shares.taken("foo.com", A) == 6
    shares.heard(3, "held", [["foo.com", A, 1]])
    assert set(shares.heard(3, "leaving", [])) == {("foo.com", A), ("foo.com", B)}
    assert (shares.taken("foo.com", A), shares.taken("foo.com", B)) == (3, 0)


def test_what_ends_is_free_again() -> None:
    shares = shares_of(table_of())
    for relay in LEAVING:
        shares.heard(relay, "held", [["foo.com", A, 2]])
        shares.heard(relay, "leaving", [])
    assert shares.heard(2, "held", [["foo.com", A, 1]]) == [("foo.com", A)]
    assert shares.taken("foo.com", A) == 3
    assert shares.ended(3) == [("foo.com", A)]
    assert shares.taken("foo.com", A) == 1
    assert shares.heard(2, "held", [["foo.com", A, 0]]) == [("foo.com", A)]
    assert shares.taken("foo.com", A) == 0


def test_one_that_ends_without_a_word_used_nothing() -> None:
    shares = shares_of(table_of())
    shares.heard(2, "leaving", [])
    assert set(shares.ended(3)) == {("foo.com", A), ("foo.com", B)}
    assert shares.taken("foo.com", A) == 0


def test_one_of_the_version_before_is_not_waited_for() -> None:
    shares = shares_of(table_of())
    assert shares.check(100.0) == []
    shares.began(100.0)
    assert shares.check(100.0 + SILENCE_LIMIT / 2) == []
    assert set(shares.check(100.0 + SILENCE_LIMIT)) == {("foo.com", A), ("foo.com", B)}
    assert shares.taken("foo.com", A) == 0


def test_each_serving_relay_has_one_where_nobody_can_wait_and_in_the_end_everywhere() -> None:
    waitless, waiting = shares_of(table_of(wait=0)), shares_of(table_of())
    assert (waitless.taken("foo.com", A), waiting.taken("foo.com", A)) == (4, 6)
    waiting.began(0.0)
    for relay in LEAVING:
        waiting.heard(relay, "held", [["foo.com", A, 3]])
        waiting.heard(relay, "leaving", [])
    assert waiting.taken("foo.com", A) == 6
    assert waiting.check(STRICT_TIME) == [("foo.com", A)]
    assert waiting.taken("foo.com", A) == 4
    assert shares_of(table_of(limit=1, wait=0)).taken("foo.com", A) == 0


def test_what_is_taken_rides_in_the_op_of_a_node_with_max() -> None:
    table = table_of()
    ops: list[Op] = [node_op(key, table.pools[key].members[A]) for key in ("foo.com", "bar.com")]
    ops.append(["gone", "x", A])
    marked = list(shares_of(table).mark(ops))
    assert [op[3].get("taken") for op in marked[:2]] == [6, None]
    assert marked[2] == ["gone", "x", A]
    op = node_op("foo.com", table.pools["foo.com"].members[A])
    assert next(iter(LeavingShares(table, (), 1).mark([op])))[3].get("taken") is None


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 5), st.data())
def test_old_and_new_relays_together_never_have_more(limit: int, before: int, after: int, data: st.DataObject) -> None:
    old = [data.draw(st.integers(0, share_of(limit, index, before))) for index in range(before)]
    shares = LeavingShares(table_of(limit), range(after, after + before), after)
    for relay, held in enumerate(old, after):
        shares.heard(relay, "held", [["foo.com", A, held]])
        shares.heard(relay, "leaving", [])
    taken = shares.taken("foo.com", A)
    new = [max(0, share_of(limit, index, after, taken)) for index in range(after)]
    # Shares of one each may be more than ``max``; the new ones get such only when no old one has a request.
    assert sum(old) + sum(new) <= max(limit, sum(old) or after)
