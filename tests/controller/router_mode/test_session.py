"""The delivery machine: what it says to a router, when, and that both always end up agreeing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.entries import make_entry
from support.lossy_link import ModelRouter, OriginalRouter, TableRouter, World, shown

from fastroute.controller.router_mode.announce_stats import LogLine
from fastroute.controller.router_mode.congestion import CongestionWindow
from fastroute.controller.router_mode.session import RouterSession
from fastroute.router.protocol.key_state import PAUSED, STATE_OWNER, AnnouncedState
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode_ack


def node(number: int, key: str = "foo.com", owner: str = "c1@1", **more: object) -> Entry:
    return make_entry(key, f"10.0.0.{number}:8000", owner=owner, **more)


def packets(world: World, since: float = -1.0) -> list[Announcement]:
    found = [decode(data) for at, data in world.sent if at >= since]
    return [one for one in found if isinstance(one, Announcement)]


def settled(router: object = None, *entries: Entry) -> World:
    world = World(router or TableRouter())  # type: ignore[arg-type]  # any of the three
    world.want(*entries)
    world.run(2.0)
    world.sent.clear()
    return world


@pytest.mark.parametrize("router", [TableRouter, ModelRouter])
def test_first_contact_is_plain_and_ends_with_a_mark(router: type) -> None:
    world = World(router())
    world.want(node(1), node(2))
    world.run(1.0)
    assert {one.entries[0].address for one in packets(world)[:3] if one.op == "nodes"} == {
        "10.0.0.1:8000",
        "10.0.0.2:8000",
    }
    assert [one.op for one in packets(world)][-1] == "mark"
    assert world.router.held() == shown([node(1), node(2)])


def test_a_router_that_acks_gets_much_in_batches_from_the_first_packet_on() -> None:
    many = [replace(node(1), address=f"10.0.{n // 250}.{n % 250}:8000") for n in range(1_000)]
    world = World(TableRouter(), delay=0.2, least=0.1)
    world.want(*many)
    world.run(10.0)
    assert world.router.held() == shown(many)
    assert len(packets(world)) < 200


def test_a_quiet_router_gets_one_heartbeat_every_five_seconds() -> None:
    world = settled(None, *(node(number) for number in range(100)))
    world.run(60.0)
    assert [one.op for one in packets(world)] == ["heartbeat"] * 12


def test_a_change_leaves_at_once_and_removals_leave_first() -> None:
    world = settled(None, node(1), node(2))
    world.want(node(1), node(3))
    datagrams = world.session.poll(world.now)
    entries = [entry for data in datagrams for entry in decode(data).entries]  # type: ignore[union-attr]  # no acks
    assert [(entry.address, entry.gone) for entry in entries] == [("10.0.0.2:8000", True), ("10.0.0.3:8000", False)]


def test_a_change_does_not_wait_for_earlier_acks() -> None:
    world = settled(None, node(1))
    world.loss = 1.0
    for number in range(2, 6):
        world.want(*(node(n) for n in range(1, number + 1)))
        assert len(world.session.poll(world.now)) == 1


def test_what_is_not_acked_is_asked_again_after_20_ms_doubling_to_a_second() -> None:
    world = settled(None, node(1))
    world.loss, start = 1.0, world.now
    world.want(node(1), node(2))
    world.run(5.0)
    times = [round(at - start, 3) for at, _ in world.sent]
    assert times[:7] == [0.0, 0.02, 0.06, 0.14, 0.30, 0.62, 1.26]
    assert all(0.5 <= later - earlier <= 1.01 for earlier, later in pairwise(times[6:]))


def test_a_repeated_packet_says_nothing_that_a_newer_one_has_changed() -> None:
    world = settled(None, node(1))
    world.loss = 1.0
    world.want(node(1), node(2), node(3))
    world.run(0.005)
    world.want(node(1), node(3))
    world.run(0.001)
    world.sent.clear()
    world.run(1.0)
    joins = [entry.address for one in packets(world) for entry in one.entries if not entry.gone]
    assert set(joins) == {"10.0.0.3:8000"}


@pytest.mark.parametrize(("least", "delay"), [(0.03, 0.04), (0.2, 0.4)])
def test_a_router_that_takes_longer_than_20_ms_is_not_asked_for_everything_twice(least: float, delay: float) -> None:
    world = World(TableRouter(), delay=delay, least=least)
    many = [replace(node(1), address=f"10.0.{n // 250}.{n % 250}:8000") for n in range(2_000)]
    world.want(node(1))
    world.run(1.0)
    world.sent.clear()
    world.want(*many)
    world.run(30.0)
    assert world.router.held() == shown(many)
    told = [entry for one in packets(world) for entry in one.entries if not entry.gone]
    assert len(told) < len(many) * 1.2


def test_a_router_that_restarts_is_told_everything_within_one_heartbeat() -> None:
    world = settled(None, node(1), node(2))
    world.router.restart()
    world.run(5.1)
    assert world.router.held() == shown([node(1), node(2)])


def test_a_router_that_was_away_for_minutes_is_complete_two_seconds_after_it_is_back() -> None:
    world = settled(None, node(1), node(2))
    world.loss = 1.0
    world.run(1.0)
    world.want(node(2), node(3))
    world.run(200.0)
    world.router.restart()
    world.loss = 0.0
    world.run(2.0)
    assert world.router.held() == shown([node(2), node(3)])
    assert world.session.status(world.now)["state"] == "acked"


def test_nodes_of_an_earlier_instance_leave_with_the_first_mark_of_the_next() -> None:
    world = settled(None, node(1), node(2))
    world.desired = {}
    world.start_controller()
    world.want(node(2), node(3))
    world.run(1.0)
    assert world.router.held() == shown([node(2), node(3)])


def test_an_instance_left_behind_takes_over_and_announces_everything() -> None:
    world = settled(None, node(1))
    foreign = Announcement("heartbeat", source="test", instance=10**15, seq=1)
    world.router.table.apply(foreign, "127.0.0.1", world.now)  # type: ignore[attr-defined]  # a TableRouter
    world.run(6.0)
    assert world.router.table.sources["test"].instance == 10**15 + 1  # type: ignore[attr-defined]  # as above
    assert world.router.held() == shown([node(1)])


def test_two_controllers_of_one_name_are_told_so_and_do_not_race() -> None:
    router = TableRouter()
    one, two = World(router), World(router)
    two.session = RouterSession("test", 2, heartbeat=5.0, limit=1400, window=4, now=0.0)
    for _ in range(2000):
        one.run(0.05)
        two.run(0.05)
    problems = f"{one.session.status(one.now)['problem']} {two.session.status(two.now)['problem']}"
    assert "same name, 'test'" in problems
    assert len(one.sent) + len(two.sent) < 200


def test_one_refused_entry_spoils_no_other_and_is_not_repeated() -> None:
    world = World(ModelRouter())
    bad = replace(node(2), address="10.0.0.2:13")
    world.want(node(1), bad, node(3))
    world.run(2.0)
    assert world.router.held() == shown([node(1), node(3)])
    assert "unlucky" in str(world.session.status(world.now)["problem"])
    world.sent.clear()
    world.run(20.0)
    assert [one.op for one in packets(world)] == ["heartbeat"] * 4


def test_a_key_without_nodes_is_announced_to_a_router_that_acks() -> None:
    world = settled(None, Entry("foo.com", owner="c1@1"))
    assert world.router.held() == shown([Entry("foo.com", owner="c1@1")])


def test_the_settings_of_a_key_without_nodes_arrive_too() -> None:
    world = settled(None, make_entry("foo.com", owner="c1@1", algorithm="lrc"))
    assert world.router.table.pools["foo.com"].options.algorithm == "lrc"  # type: ignore[attr-defined]  # a TableRouter
    world.run(20.0)
    assert [one.op for one in packets(world)] == ["heartbeat"] * 4, "the digests agree"


def held(number: int, key: str = "foo.com", seconds: float = 600) -> Entry:
    return Entry(key, owner=STATE_OWNER, state=AnnouncedState(PAUSED, seconds=seconds, stamp=number))


def test_the_state_of_a_key_arrives_alone_and_is_changed_and_taken_back() -> None:
    world = settled(None, node(1))
    world.want(node(1), node(2), held(1), held(2, "bar.com"))
    assert world.session.lacks() == "it has not acked yet"
    world.run(1.0)
    assert sorted(len(one.entries) for one in packets(world) if one.op == "nodes") == [1, 1, 1]
    states = world.router.table.states  # type: ignore[attr-defined]  # a TableRouter
    assert (states.of("foo.com").state, states.of("bar.com").state, world.session.lacks()) == (
        held(1).state, held(2, "bar.com").state, "",
    )  # fmt: skip
    world.want(node(1), node(2), held(3))
    world.run(1.0)
    assert states.of("foo.com").state == held(3).state
    assert states.of("bar.com") is None
    world.sent.clear()
    world.run(20.0)
    assert [one.op for one in packets(world)] == ["heartbeat"] * 4, "the digests agree"


def test_a_version_without_states_refuses_them_and_nothing_else() -> None:
    class Before(ModelRouter):
        """It asks each block for its key."""

        def datagram(self, data: bytes, now: float) -> bytes | None:
            packet = decode(data)
            assert isinstance(packet, Announcement)
            if any(entry.state for entry in packet.entries):
                return encode_ack(Ack(packet.seq, f"{self.starts:016x}", "refused", reason="key is missing or empty"))
            return super().datagram(data, now)

    world = World(Before())
    world.want(node(1), held(1), node(2))
    world.run(2.0)
    assert world.router.held() == shown([node(1), node(2)])
    assert "a version without pauses and maintenance" in world.session.lacks()
    world.sent.clear()
    world.run(20.0)
    assert [one.op for one in packets(world)] == ["heartbeat"] * 4
    world.want(node(1), node(2))
    world.run(6.0)
    assert world.session.lacks() == ""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["want", "want", "router", "controller"]),
                       st.dictionaries(st.sampled_from(["a.com", "b.com", "c.com"]), st.integers(1, 3), max_size=3),
                       st.floats(0.0, 3.0)), max_size=8),
    st.integers(0, 2**32), st.floats(0.0, 0.5), st.floats(0.0, 0.4),
)  # fmt: skip
def test_on_any_link_the_router_ends_up_with_the_states_that_are_asked_for(
    script: list[tuple[str, dict[str, int], float]], seed: int, loss: float, delay: float
) -> None:
    world, wanted = World(TableRouter(), seed, loss, delay), dict[str, int]()
    for what, states, seconds in script:
        if what == "want":
            wanted = states
            world.want(node(1), *(held(number, key) for key, number in wanted.items()))
        elif what == "router":
            world.router.restart()
        else:
            world.start_controller()
        world.run(seconds)
    world.loss, world.delay = 0.0, 0.001
    world.run(12.0)
    found = world.router.table.states  # type: ignore[attr-defined]  # a TableRouter
    for key in ("a.com", "b.com", "c.com"):
        now = found.of(key)
        assert (now.state if now else None) == (held(wanted[key], key).state if key in wanted else None)
    assert world.session.lacks() == ""


def test_requests_on_a_withdrawn_node_are_asked_for_until_there_are_none() -> None:
    world = settled(None, node(1), node(2))
    world.want(node(2))
    (datagram,) = world.session.poll(world.now)
    seq, boot = decode(datagram).seq, world.session.boot  # no ack
    world.session.receive(Ack(seq, boot, "applied", in_flight=3), world.now)
    assert world.session.status(world.now)["withdrawn"] == [{"nodes": ["foo.com@10.0.0.1:8000"], "in_flight": 3}]
    world.now += 1.0
    (again,) = world.session.poll(world.now)
    assert decode(again).seq == seq
    world.session.receive(Ack(seq, boot, "applied", in_flight=1), world.now)
    assert world.session.status(world.now)["withdrawn"] == [{"nodes": ["foo.com@10.0.0.1:8000"], "in_flight": 1}]
    world.session.receive(Ack(seq, boot, "applied"), world.now)
    assert world.session.status(world.now)["withdrawn"] == []


def test_what_drains_and_what_takes_its_place_is_one_packet_and_the_requests_are_counted_one_by_one() -> None:
    world = settled(None, node(1), node(2), node(3, drain=True))
    drained = node(1, drain=True)
    world.want(drained, node(2), node(3), *(node(n, drain=True) for n in range(10, 40)))
    (whole,) = map(decode, world.session.poll(world.now))
    assert isinstance(whole, Announcement)
    assert {entry.address: entry.drain for entry in whole.entries}["10.0.0.3:8000"] is False
    assert len(whole.entries) == 32, "more than fits into a packet of usual size"
    names = [(entry.key, entry.address, entry.owner) for entry in whole.entries]
    assert world.session.lacks(names) == "it has not acked yet"
    world.session.receive(Ack(whole.seq, world.session.boot, "applied"), world.now)
    world.run(3.0)
    assert (world.session.lacks(names), len(world.session.in_flight())) == ("", 31)
    assert world.router.held() == shown(world.desired.values())


def test_a_large_packet_whose_fragments_get_lost_is_split() -> None:
    world = settled(None, *(node(n) for n in range(1, 30)))
    world.largest = 1400
    world.want(*(node(n, drain=n < 15) for n in range(1, 30)))
    world.run(1.0)
    assert world.router.held() == shown(world.desired.values())
    assert max(len(data) for _, data in world.sent) > 1400


def test_a_drained_node_goes_alone_and_its_requests_are_counted_when_the_relays_have_reported() -> None:
    world = settled(None, node(1), node(2, key="bar.com"))
    drained = node(1, drain=True)
    world.want(drained, node(2, key="bar.com"), node(3, key="bar.com"))
    alone, rest = map(decode, world.session.poll(world.now))
    assert [len(packet.entries) for packet in (alone, rest)] == [1, 1]  # type: ignore[union-attr]  # no acks
    seq, boot, name = alone.seq, world.session.boot, (drained.key, drained.address, drained.owner)
    world.session.receive(Ack(rest.seq, boot, "applied"), world.now)
    # The first answer may be older than the drain: it is not believed.
    world.session.receive(Ack(seq, boot, "applied"), world.now)
    assert world.session.in_flight() == {}
    for number, wait in ((2, 0.3), (0, 1.0)):
        world.now += wait
        (again,) = map(decode, world.session.poll(world.now))
        assert (again.seq, again.entries) == (seq, (drained,))  # type: ignore[union-attr]
        world.session.receive(Ack(seq, boot, "applied", in_flight=number), world.now)
        assert world.session.in_flight() == {name: number}
    world.want(node(1), node(2, key="bar.com"), node(3, key="bar.com"))
    assert world.session.in_flight() == {}


def test_a_full_announcement_asks_for_the_requests_of_drained_nodes_again() -> None:
    drained = node(1, drain=True)
    world = settled(None, drained, node(2))
    assert world.session.in_flight() == {(drained.key, drained.address, drained.owner): 0}
    world.router.restart()
    world.run(10.0)
    assert world.session.in_flight() == {(drained.key, drained.address, drained.owner): 0}


def test_an_old_packet_acked_under_another_boot_id_makes_it_ask_who_is_there() -> None:
    world = settled(None, node(1))
    (join,) = told(world, node(1), node(2))
    (other,) = told(world, node(1), node(2), node(3))
    boot = world.session.boot
    world.session.receive(Ack(other.seq, boot, "applied"), world.now)
    world.session.receive(Ack(join.seq, "another", "full"), world.now)
    assert world.session.boot == boot
    (question,) = map(decode, world.session.poll(world.now))
    assert isinstance(question, Announcement)
    assert question.op == "heartbeat"
    world.session.receive(Ack(question.seq, "another", "full"), world.now)
    assert world.session.boot == "another"


def told(world: World, *entries: Entry) -> list[Announcement]:
    """What is said, and lost, when these are desired."""
    world.want(*entries)
    return [one for one in map(decode, world.session.poll(world.now)) if isinstance(one, Announcement)]


def test_everything_goes_out_at_once_when_a_silent_router_answers() -> None:
    world = settled(None, node(1))
    world.loss = 1.0
    for number in range(2, 6):
        world.want(*(node(n) for n in range(1, number + 1)))
        world.run(0.001)
    world.run(10.0)
    oldest = packets(world)[0]
    world.session.receive(Ack(oldest.seq, world.session.boot, "applied"), world.now)
    assert len(world.session.poll(world.now)) == 3


def test_the_window_opens_with_acks_and_halves_once_for_a_burst_of_missing_ones() -> None:
    pace = CongestionWindow(32)
    for _ in range(100):
        pace.acked(0.015, 0)
    assert (pace.window, round(pace.resend_after, 3)) == (32, 0.03)
    pace.missed(1.0)
    pace.missed(1.001)
    assert pace.window == 16
    for number in range(10):
        pace.missed(2.0 + number)
    assert pace.window == 2


# A router that never acks


def test_an_original_router_gets_every_node_at_every_heartbeat() -> None:
    world = settled(OriginalRouter(), node(1), node(2))
    world.router.restart()
    world.run(5.1)
    assert world.router.held() == {
        ("foo.com", "10.0.0.1:8000", "", 0, False),
        ("foo.com", "10.0.0.2:8000", "", 0, False),
    }


def test_a_withdrawal_is_said_three_times_to_an_original_router() -> None:
    world = settled(OriginalRouter(), node(1), node(2))
    world.want(node(2))
    world.run(2.0)
    assert [one.entries[0].address for one in packets(world) if one.op == "nodes"] == ["10.0.0.1:8000"] * 3


def test_a_drained_node_is_withdrawn_from_an_original_router_and_comes_back() -> None:
    world = settled(OriginalRouter(), node(1))
    world.want(node(1, drain=True))
    world.run(0.1)
    assert world.router.held() == set()
    world.want(node(1))
    world.run(10.0)
    assert world.router.held() == {("foo.com", "10.0.0.1:8000", "", 0, False)}


def test_an_original_router_keeps_a_node_that_another_owner_still_holds() -> None:
    world = settled(OriginalRouter(), node(1, owner="old@1"), node(1, owner="new@2"))
    world.want(node(1, owner="new@2"))
    world.run(10.0)
    assert world.router.held() == {("foo.com", "10.0.0.1:8000", "", 0, False)}


def test_ten_thousand_nodes_are_not_thrown_at_an_original_router_in_one_go() -> None:
    world = World(OriginalRouter())
    many = [replace(node(1), address=f"10.0.{n // 250}.{n % 250}:8000") for n in range(10_000)]
    world.want(*many)
    world.run(0.005)
    assert len(world.sent) < 100
    world.run(4.0)
    assert len(world.router.held()) == 10_000


# Whatever the link does

_CHANGE = st.tuples(
    st.sampled_from(["want", "want", "want", "router", "controller", "wait"]),
    st.sets(st.integers(1, 12), max_size=12),
    st.floats(0.0, 3.0),
)


def _play(world: World, script: list[tuple[str, set[int], float]]) -> None:
    for what, numbers, seconds in script:
        if what == "want":
            world.want(*(node(n % 6, owner=f"c{n // 6}@1", weight=1 + len(numbers), drain=n == 3) for n in numbers))
        elif what == "router":
            world.router.restart()
        elif what == "controller":
            world.start_controller()
        world.run(seconds)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([TableRouter, ModelRouter]),
    st.lists(_CHANGE, max_size=8),
    st.integers(0, 2**32),
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.4),
)
# The ack of the router before its restart comes after the first one of the router after it.
@example(TableRouter, [("want", set(), 0.125), ("router", set(), 0.0)], 0, 0.0, 0.25)
def test_any_link_and_any_restarts_end_in_agreement_and_silence(
    router: type, script: list[tuple[str, set[int], float]], seed: int, loss: float, delay: float
) -> None:
    world = World(router(), seed, loss, delay, limit=600)
    _play(world, script)
    world.loss, world.delay = 0.0, 0.001
    world.run(12.0)
    assert world.router.held() == shown(world.desired.values())
    world.sent.clear()
    world.run(30.0)
    assert {one.op for one in packets(world)} == {"heartbeat"}
    assert len(packets(world)) in (5, 6)


@settings(max_examples=30, deadline=None)
@given(st.lists(_CHANGE, max_size=8), st.integers(0, 2**32), st.floats(0.0, 0.3))
def test_an_original_router_ends_up_with_every_node_that_is_not_drained(
    script: list[tuple[str, set[int], float]], seed: int, loss: float
) -> None:
    world = World(OriginalRouter(), seed, loss, 0.05)
    _play(world, script)
    world.loss = 0.0
    world.run(6.0)
    wanted = {(entry.key, entry.address, "", 0, False) for entry in world.desired.values() if not entry.drain}
    # Without acks a withdrawal that was lost three times, or overtaken by an older packet, heals by the tolerance.
    assert wanted <= world.router.held()


def test_what_was_sent_and_answered_is_told_and_counted() -> None:
    world = settled(None, node(1), node(2))
    stats = world.session.stats
    stats.take()
    before = stats.packets.copy()
    world.want(node(2), *(node(number) for number in range(3, 8)))
    world.run(0.5)
    said, seconds = stats.take()
    first = int(said[0].text.split()[1].rstrip(":"))
    assert [(one.kind, one.text.partition(" after ")[0], one.key, one.id) for one in _sorted(said)] == [
        ("packet", f"packet {first}: leave foo.com@10.0.0.1:8000", "foo.com", "c1"),
        (
            "packet",
            f"packet {first + 1}: join foo.com@10.0.0.3:8000, join foo.com@10.0.0.4:8000,"
            " join foo.com@10.0.0.5:8000 and 2 more",
            "",
            "",
        ),
        ("ack", f"packet {first} applied", "foo.com", "c1"),
        ("ack", f"packet {first + 1} applied", "", ""),
    ]
    assert len(seconds) == 2
    changed = {name: number - before[name] for name, number in stats.packets.items() if number != before[name]}
    assert {name: changed[name] for name in [("leave", "sent"), ("join", "sent"), ("leave", "applied")]} == {
        ("leave", "sent"): 1,
        ("join", "sent"): 1,
        ("leave", "applied"): 1,
    }


def _sorted(said: list[LogLine]) -> list[LogLine]:
    """Packets before acks, both by number: the link may deliver in any order."""
    return sorted(said, key=lambda one: (one.kind != "packet", one.text))


def test_lost_sources_are_named_at_once_and_in_each_heartbeat_and_of_many_others_each_time() -> None:
    world = settled(None, node(1))
    world.session.lose(("docker-1",), world.now)
    world.run(0.1)
    world.run(10.0)
    assert [one.lost for one in packets(world)] == [("docker-1",)] * 3
    many = tuple(f"docker-{number}" for number in range(30))
    world.session.lose(many, world.now)
    since = world.now
    world.run(60.0)
    assert {name for one in packets(world, since) for name in one.lost} == set(many)
    assert all(len(data) < 1400 for at, data in world.sent)
