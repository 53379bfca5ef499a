"""The table: who is in which pool, through owners, order, silence and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry

from fastroute.router.control.table.silences import EXPIRY_SLICE
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import digest_of
from fastroute.router.protocol.node_options import KeyOptions
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError

A, B = "10.0.0.1:80", "10.0.0.2:80"


def say(table, *entries, now=0.0, sender="127.0.0.1", **head):
    return table.apply(Announcement(entries=entries, **head), sender, now)


def nodes(table, key="k"):
    return sorted(table.pools[key].members) if key in table.pools else None


def told(table):
    """What the relays are told: the ops' raw material, taken."""
    taken = list(table.dirty_nodes), list(table.dirty_pools)
    table.dirty_nodes.clear()
    table.dirty_pools.clear()
    return taken


def gone(entry):
    return Entry(entry.key, entry.address, owner=entry.owner, gone=True)


class TestWorkersThatAnnounceThemselves:
    def test_a_worker_joins_refreshes_and_leaves(self) -> None:
        table = Table()
        say(table, Entry("k", A))
        say(table, Entry("k", A), now=10)
        assert nodes(table) == [A]
        say(table, gone(Entry("k", A)), now=11)
        assert nodes(table) == []

    def test_silence_ends_a_node_by_time_alone(self) -> None:
        table = Table(tolerance=25)
        say(table, Entry("k", A), now=0)
        say(table, Entry("k", B), now=5)
        table.expire(24.9)
        assert nodes(table) == [A, B]
        table.expire(25)
        assert nodes(table) == [B]
        assert [note.text for note in table.notes if note.kind == "node-removed"] == ["no announcement for 25 s"]

    def test_a_refresh_tells_the_relays_nothing_and_a_new_weight_does(self) -> None:
        table = Table()
        say(table, Entry("k", A))
        assert told(table) == ([("k", A)], ["k"])
        say(table, Entry("k", A, load=7), now=10)
        assert told(table) == ([], [])
        say(table, make_entry("k", A, weight=5), now=20)
        assert told(table) == ([("k", A)], [])
        assert table.member("k", A).entry.options.weight == 5  # type: ignore[union-attr]

    @pytest.mark.parametrize("address", [":8000", "0.0.0.0:8000", "[::]:8000"])
    def test_an_address_without_host_is_the_senders(self, address) -> None:
        table = Table()
        say(table, Entry("k", address), sender="172.20.0.7")
        say(table, Entry("k", address), sender="172.20.0.8")
        assert nodes(table) == ["172.20.0.7:8000", "172.20.0.8:8000"]
        say(table, gone(Entry("k", address)), sender="172.20.0.8")
        assert nodes(table) == ["172.20.0.7:8000"]

    @pytest.mark.parametrize("address", ["nonsense", "10.0.0.1:0", "fd://3", "./x.sock"])
    def test_an_address_that_is_none_is_refused_and_changes_nothing(self, address) -> None:
        table = Table()
        with pytest.raises(PacketError) as caught:
            say(table, Entry("other", A), Entry("k", address))
        assert caught.value.reason == "bad-address"
        assert table.pools == {}


class TestOwners:
    def test_a_node_leaves_with_its_last_owner_and_never_counts_twice(self) -> None:
        table = Table()
        mine, theirs = Entry("k", A, owner="c1"), Entry("k", A, owner="c2")
        say(table, mine, source="operator")
        say(table, theirs, source="operator")
        say(table, Entry("k", A))
        assert (nodes(table), table.node_count) == ([A], 1)
        say(table, gone(mine), source="operator")
        say(table, gone(Entry("k", A)))
        assert nodes(table) == [A]
        say(table, gone(theirs), source="operator")
        assert nodes(table) == []

    def test_the_highest_rank_decides_the_attributes(self) -> None:
        table = Table()
        say(table, make_entry("k", A, weight=2))
        say(table, make_entry("k", A, weight=3), source="docker", instance=1, seq=1)
        say(table, make_entry("k", A, weight=9), now=1)
        assert table.member("k", A).entry.options.weight == 3  # type: ignore[union-attr]
        say(table, make_entry("k", A, weight=4, drain=True), source="operator")
        assert (table.member("k", A).entry.options.weight, table.member("k", A).entry.drain) == (4, True)  # type: ignore[union-attr]

    def test_what_an_operator_announced_never_expires(self) -> None:
        table = Table()
        say(table, Entry("k", A), source="operator")
        table.expire(1e9)
        assert nodes(table) == [A]


class TestKeys:
    def test_a_key_outlives_its_nodes_by_the_grace(self) -> None:
        table = Table(key_grace=60)
        say(table, Entry("k", A))
        say(table, gone(Entry("k", A)), now=100)
        table.expire(159)
        assert nodes(table) == []
        table.expire(160)
        assert nodes(table) is None
        assert "k" in told(table)[1]

    def test_a_source_keeps_a_key_known_as_long_as_it_says_so(self) -> None:
        table = Table(key_grace=60, stale_max=10_000)
        say(table, Entry("k"), source="docker", instance=1, seq=1)
        table.expire(1000)
        assert nodes(table) == []
        say(table, Entry("k", gone=True), source="docker", instance=1, seq=2, now=1000)
        assert nodes(table) is None

    def test_a_node_that_comes_back_within_the_grace_ends_it(self) -> None:
        table = Table(key_grace=60, tolerance=1000)
        say(table, Entry("k", A))
        say(table, gone(Entry("k", A)), now=10)
        say(table, Entry("k", A), now=20)
        table.expire(500)
        assert nodes(table) == [A]

    @pytest.mark.parametrize(("name", "mine", "other"), [("algorithm", "lrc", "iphash"), ("wait", 5.0, 0.0)])
    def test_of_two_that_differ_the_older_one_counts_whatever_they_say_later(self, name, mine, other) -> None:
        table = Table(defaults=KeyOptions(algorithm="wrr", wait=1.0))
        say(table, make_entry("k", A, **{name: mine}))
        say(table, make_entry("k", B, **{name: other}))
        for _ in range(2):
            assert getattr(table.pools["k"].options, name) == mine
            say(table, make_entry("k", B, **{name: other}))
            say(table, make_entry("k", A, **{name: mine}))
        told(table)
        say(table, gone(Entry("k", A)))
        assert getattr(table.pools["k"].options, name) == other
        assert told(table)[1] == ["k"]

    def test_people_count_before_controllers_and_these_before_workers(self) -> None:
        table = Table()
        for source, wait in (("", 1.0), ("docker-1", 2.0), ("operator", 3.0), ("docker-2", 4.0)):
            say(table, make_entry("k", A, wait=wait), source=source)
            assert table.pools["k"].options.wait == min(wait, 3.0)

    def test_a_disagreement_is_told_once_and_names_both(self) -> None:
        table = Table()
        for number in range(3):
            for _ in range(2):
                say(table, make_entry("k", A, wait=5.0, owner="4e12@1"), source="docker-1")
                say(table, make_entry("k", f"10.0.1.{number}:80", wait=7.0, owner=f"c{number}@1"), source="docker-2")
        disputes = [note.sentence for note in table.notes if note.kind == "key-disputed"]
        assert disputes == [
            "k: wait 5 by container 4e12 of docker-1 at 10.0.0.1:80 counts,"
            " container c0 of docker-2 at 10.0.1.0:80 says 7; one key has one"
        ]

    def test_one_controllers_containers_never_disagree_here(self) -> None:
        table = Table()
        for wait in (5.0, 7.0):
            for address in (A, B):
                say(table, make_entry("k", address, wait=wait), source="docker-1")
        assert not [note for note in table.notes if note.kind == "key-disputed"]
        assert table.pools["k"].options.wait == 7.0

    def test_a_key_without_anybody_keeps_the_last_word_until_the_next_one_speaks(self) -> None:
        table = Table(defaults=KeyOptions(algorithm="wrr", wait=0.0))
        say(table, make_entry("k", A, wait=5.0, algorithm="lrc"))
        told(table)
        say(table, gone(Entry("k", A)))
        assert table.pools["k"].options == KeyOptions(algorithm="lrc", wait=5.0)
        assert told(table)[1] == []
        say(table, Entry("k", B))
        assert table.pools["k"].options == KeyOptions(algorithm="wrr", wait=0.0)
        assert told(table)[1] == ["k"]

    def test_the_algorithm_ends_with_who_wished_it(self) -> None:
        table = Table(defaults=KeyOptions(algorithm="wrr"))
        say(table, make_entry("k", A, algorithm="lrc"))
        say(table, Entry("k", B))
        assert table.pools["k"].options.algorithm == "lrc"
        told(table)
        say(table, gone(Entry("k", A)))
        assert table.pools["k"].options.algorithm == "wrr"
        assert told(table)[1] == ["k"]

    def test_another_algorithm_changes_the_key_and_none_of_its_nodes(self):
        table = Table()
        say(table, make_entry("k", A, algorithm="lrc"))
        told(table)
        table.notes.clear()
        say(table, make_entry("k", A, algorithm="wlrc"))
        assert not table.dirty_nodes
        assert list(table.dirty_pools) == ["k"]
        assert not table.notes


class TestSources:
    def docker(self, table, *entries, instance=1, seq=1, **rest):
        return say(table, *entries, source="docker", instance=instance, seq=seq, **rest)

    def compare(self, table, op, entries, seq, since=0, instance=1, now=0.0):
        head = {"since": since, "count": len(entries), "digest": digest_of(entries)}
        return table.apply(Announcement(op, (), "docker", instance, seq, True, **head), "127.0.0.1", now)

    def test_a_new_instance_is_asked_for_everything_and_an_old_one_is_behind(self) -> None:
        table = Table()
        assert self.docker(table, Entry("k", A), instance=5) == "full"
        assert self.docker(table, Entry("k", B), instance=5, seq=2) == "applied"
        assert self.docker(table, gone(Entry("k", A)), instance=4, seq=99) == "behind"
        assert nodes(table) == [A, B]

    def test_late_and_repeated_packets_change_nothing(self) -> None:
        table = Table()
        self.docker(table, make_entry("k", A, weight=1), seq=1)
        self.docker(table, make_entry("k", A, weight=2), seq=2)
        self.docker(table, make_entry("k", A, weight=1), seq=1)
        assert table.member("k", A).entry.options.weight == 2  # type: ignore[union-attr]
        self.docker(table, gone(Entry("k", A)), seq=4)
        self.docker(table, Entry("k", A), seq=3)
        assert nodes(table) == []

    def test_a_mark_removes_what_was_not_announced_since(self) -> None:
        table = Table()
        self.docker(table, Entry("k", A), seq=1)
        now_there = Entry("k", B)
        self.docker(table, now_there, instance=2, seq=1)
        assert self.compare(table, "mark", [now_there], 2, since=1, instance=2) == "applied"
        assert nodes(table) == [B]
        assert self.docker(table, Entry("k", A), instance=2, seq=0) == "applied"
        assert nodes(table) == [B], "below the floor nothing counts any more"

    def test_a_mark_that_does_not_add_up_asks_again(self) -> None:
        table = Table()
        self.docker(table, Entry("k", A), seq=1)
        assert self.compare(table, "mark", [Entry("k", A), Entry("k", B)], 3, since=1) == "full"

    def test_a_heartbeat_compares_and_settles_what_came_before(self) -> None:
        table = Table()
        self.docker(table, Entry("k", A), seq=1)
        self.docker(table, Entry("k", B), seq=2)
        self.docker(table, gone(Entry("k", B)), seq=4)
        assert self.compare(table, "heartbeat", [Entry("k", A)], 5) == "applied"
        assert not table.sources["docker"].buried
        self.docker(table, Entry("k", B), seq=3)
        assert nodes(table) == [A]
        assert self.compare(table, "heartbeat", [Entry("k", B)], 6) == "full"

    def test_a_heartbeat_that_was_overtaken_is_not_answered(self) -> None:
        table = Table()
        self.docker(table, Entry("k", A), seq=9)
        assert self.compare(table, "heartbeat", [], 8) is None

    def test_a_silent_sources_nodes_are_stale_then_gone_and_fresh_when_it_is_back(self) -> None:
        table = Table(tolerance=25, stale_max=600)
        self.docker(table, Entry("k", A), Entry("k", B), seq=1)
        say(table, Entry("k", B), now=20)
        table.expire(25)
        assert table.member("k", A).stale  # type: ignore[union-attr]
        assert not table.member("k", B).stale, "its worker says that it is there"  # type: ignore[union-attr]
        self.compare(table, "heartbeat", [Entry("k", A), Entry("k", B)], 2, now=30)
        assert not table.member("k", A).stale  # type: ignore[union-attr]
        table.expire(600)
        table.expire(630)
        assert table.member("k", A) is None

    def test_a_stale_node_that_refuses_one_connection_is_removed_and_a_fresh_one_is_not(self) -> None:
        table = Table(tolerance=25)
        self.docker(table, Entry("k", A), seq=1)
        assert not table.failed("k", A, 1)
        table.expire(25)
        assert table.failed("k", A, 26)
        assert nodes(table) == []


class TestNames:
    def test_every_address_behind_a_name_is_a_node(self) -> None:
        table = Table()
        say(table, make_entry("k", "web:80", weight=3))
        assert (nodes(table), list(table.names)) == ([], ["web:80"])
        table.resolved("web:80", ("10.0.0.2", "10.0.0.1"), 1)
        assert nodes(table) == [A, B]
        assert table.member("k", A).entry.options.weight == 3  # type: ignore[union-attr]
        table.resolved("web:80", ("10.0.0.2",), 2)
        assert nodes(table) == [B]
        say(table, gone(Entry("k", "web:80")), now=3)
        assert (nodes(table), list(table.names)) == ([], [])

    def test_a_name_and_an_address_of_the_same_node_count_once(self) -> None:
        table = Table()
        say(table, Entry("k", "web:80"))
        say(table, Entry("k", A))
        table.resolved("web:80", ("10.0.0.1",), 1)
        table.resolved("web:80", (), 2)
        assert nodes(table) == [A]

    def test_a_key_that_waits_for_its_name_is_known(self) -> None:
        table = Table(key_grace=60)
        say(table, Entry("k", "web:80"), source="operator")
        table.expire(1000)
        table.resolved("web:80", ("10.0.0.1",), 1001)
        assert nodes(table) == [A]

    def test_an_ipv6_address_gets_its_brackets(self) -> None:
        table = Table()
        say(table, Entry("k", "web:80"))
        table.resolved("web:80", ("::1",), 1)
        assert nodes(table) == ["[::1]:80"]


owners = st.sampled_from([("", ""), ("operator", ""), ("docker", "c1"), ("docker", "c2")])
steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "expire"]), owners, st.sampled_from("kl"), st.sampled_from([A, B])),
    max_size=60,
)


@given(steps)
def test_a_node_is_there_exactly_while_somebody_claims_it(script) -> None:
    """Model: a set of (owner, key, address); self-announced ones age.  The sums the table keeps agree with it."""
    table, model = Table(tolerance=25), {}
    for now, (what, (source, owner), key, address) in enumerate(script):
        head = {"source": source} | ({"instance": 1, "seq": now} if source == "docker" else {})
        if what == "expire":
            table.expire(now)
        else:
            say(table, Entry(key, address, owner=owner, gone=what == "leave"), now=now, **head)
        if what == "join":
            model[source, owner, key, address] = now
        elif what == "leave":
            model.pop((source, owner, key, address), None)
        else:
            model = {record: seen for record, seen in model.items() if record[0] or seen + 25 > now}
    want = {(key, address) for _, _, key, address in model}
    got = {(pool.name, address) for pool in table.pools.values() for address in pool.members}
    assert got == want
    assert table.node_count == len(want)
    docker = [Entry(key, address, owner=owner) for source, owner, key, address in model if source == "docker"]
    if "docker" in table.sources:
        assert (table.sources["docker"].count, table.sources["docker"].digest) == (len(docker), digest_of(docker))


class TestBounds:
    def test_one_host_may_announce_its_share_and_refresh_it(self) -> None:
        table = Table()
        for number in range(3):
            table.apply(Announcement(entries=(Entry(f"k{number}", ":80"),)), "10.0.0.7", 0.0, 3)
        with pytest.raises(PacketError, match=r"10\.0\.0\.7 may announce 3"):
            table.apply(Announcement(entries=(Entry("more", ":80"),)), "10.0.0.7", 0.0, 3)
        table.apply(Announcement(entries=(make_entry("k1", ":80", weight=2),)), "10.0.0.7", 0.0, 3)
        table.apply(Announcement(entries=(Entry("other", ":80"),)), "10.0.0.8", 0.0, 3)
        table.apply(Announcement(entries=(Entry("k1", ":80", gone=True),)), "10.0.0.7", 0.0, 3)
        table.apply(Announcement(entries=(Entry("more", ":80"),)), "10.0.0.7", 0.0, 3)
        assert table.node_count == 4

    def test_a_source_with_nothing_left_is_forgotten_in_time_and_there_are_not_too_many(self, monkeypatch) -> None:
        monkeypatch.setattr("fastroute.router.control.table.table.MAX_SOURCES", 2)
        table = Table(stale_max=600)
        for name in ("a", "b"):
            say(table, Entry("k", f"10.0.0.{ord(name)}:1"), source=name, instance=1, seq=1)
        with pytest.raises(PacketError, match="2 sources"):
            say(table, Entry("k", "10.0.0.9:1"), source="c", instance=1, seq=1)
        table.expire(700.0)
        assert not table.sources
        say(table, Entry("k", "10.0.0.9:1"), source="c", instance=1, seq=1, now=700.0)
        assert set(table.sources) == {"c"}

    def test_withdrawals_that_are_never_compared_are_not_remembered_for_ever(self, monkeypatch) -> None:
        monkeypatch.setattr("fastroute.router.control.table.sources.MAX_BURIED", 10)
        table = Table()
        for seq in range(100):
            say(table, Entry("k", f"10.0.0.{seq}:1", gone=True), source="a", instance=1, seq=seq)
        assert len(table.sources["a"].buried) <= 11
        say(table, Entry("k", "10.0.0.1:1"), source="a", instance=1, seq=1)
        assert not table.pools, "what was withdrawn later is not revived"


class TestSourcesThatAreLost:
    def heartbeat(self, table, now, lost=("dead",)):
        return say(table, now=now, op="heartbeat", source="m", instance=1, seq=int(now * 10), lost=lost)

    def filled(self):
        table = Table()
        say(table, Entry("k", A, owner="c1"), source="dead", instance=1, seq=1)
        return table

    def test_its_nodes_leave_by_the_word_of_another_once_it_is_silent(self) -> None:
        table = self.filled()
        self.heartbeat(table, now=6.9)
        assert nodes(table) == [A]
        self.heartbeat(table, now=7)
        assert nodes(table) == []
        assert any("dead is lost: m says" in note.sentence for note in table.notes)

    def test_one_that_speaks_to_us_is_there(self) -> None:
        table = self.filled()
        digest = digest_of([Entry("k", A, owner="c1")])
        for now in (5, 10, 15):
            say(table, now=now, op="heartbeat", source="dead", instance=1, seq=now, count=1, digest=digest)
            self.heartbeat(table, now=now + 1)
        assert nodes(table) == [A]

    def test_who_is_back_is_asked_for_everything_and_nobody_loses_himself(self) -> None:
        table = self.filled()
        self.heartbeat(table, now=20, lost=("dead", "unknown", "m"))
        digest = digest_of([Entry("k", A, owner="c1")])
        assert say(table, now=21, op="heartbeat", source="dead", instance=1, seq=9, count=1, digest=digest) == "full"


class TestMuchThatEndsAtOnce:
    """A part at a time, so that changes of others are not held up."""

    COUNT = 2 * EXPIRY_SLICE + 1

    def filled(self):
        table = Table(tolerance=25, stale_max=600)
        for number in range(self.COUNT):
            entry = Entry("k", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:1", owner="c")
            say(table, entry, source="dead", instance=1, seq=number)
        return table

    def stale(self, table):
        return sum(member.stale for member in table.pools["k"].members.values())

    def rest(self, table, now):
        parts = 0
        while table.expire(now):
            parts += 1
        return parts

    def test_nodes_become_stale_a_part_at_a_time_and_none_stays_so_when_their_source_is_back(self) -> None:
        table = self.filled()
        assert table.expire(25)
        assert self.stale(table) == EXPIRY_SLICE
        say(table, now=26, op="heartbeat", source="dead", instance=1, seq=9_999)
        assert (self.rest(table, 27), self.stale(table)) == (0, 0)
        assert (self.rest(table, 60), self.stale(table)) == (2, self.COUNT)

    def test_nodes_of_one_that_was_silent_too_long_leave_a_part_at_a_time(self) -> None:
        table = self.filled()
        self.rest(table, 30)
        assert table.expire(600)
        assert table.node_count == self.COUNT - EXPIRY_SLICE
        self.rest(table, 600)
        assert (table.node_count, table.sources) == (0, {})

    def test_nodes_of_a_lost_source_leave_a_part_at_a_time_until_it_is_back(self) -> None:
        table = self.filled()
        say(table, now=10, op="heartbeat", source="m", instance=1, seq=1, lost=("dead",))
        assert table.node_count == self.COUNT - EXPIRY_SLICE
        assert table.expire(10)
        assert table.node_count == 1
        say(table, now=11, op="heartbeat", source="dead", instance=1, seq=9_999)
        assert (table.expire(12), table.node_count) == (False, 1)
        say(table, now=20, op="heartbeat", source="m", instance=1, seq=2, lost=("dead",))
        assert table.node_count == 0

    def test_workers_that_fell_silent_together_leave_a_part_at_a_time(self) -> None:
        table = Table(tolerance=25)
        for number in range(self.COUNT):
            say(table, Entry("k", f"10.0.{number >> 8}.{number & 255}:1"))
        assert (self.rest(table, 25), table.node_count) == (2, 0)
