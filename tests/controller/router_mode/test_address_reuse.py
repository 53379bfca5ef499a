"""An address that changes hands: who gets it is announced only when the router has let go of who had it."""

from __future__ import annotations

from dataclasses import replace

from support.lossy_link import TableRouter, World, shown

from fastroute.controller.router_mode.address_reuse import AddressReuse
from fastroute.router.protocol.subscription import Announcement, Entry, decode

OLD = Entry("foo.com", "10.0.0.1:80", owner="old@1")
NEW = Entry("bar.com", "10.0.0.1:80", owner="new@2")
OTHER = Entry("bar.com", "10.0.0.2:80", owner="other@1")


def said(world: World) -> list[tuple[str, bool]]:
    found = []
    for _, datagram in world.sent:
        packet = decode(datagram)
        assert isinstance(packet, Announcement)
        found += [(entry.owner, entry.gone) for entry in packet.entries]
    return found


def test_a_new_owner_waits_for_the_ack_of_the_last_one_and_nobody_else_does() -> None:
    world = World(TableRouter())
    world.want(OLD)
    world.run(2.0)
    world.sent.clear()
    world.loss = 1.0
    world.want(NEW, OTHER)
    world.run(1.0)
    assert set(said(world)) == {("old@1", True), ("other@1", False)}
    world.loss = 0.0
    world.run(2.0)
    assert world.router.held() == shown([NEW, OTHER])
    assert world.session.status(world.now)["pending"] == 0


def test_who_comes_back_lets_the_others_go() -> None:
    reuse = AddressReuse()
    reuse.leaves(OLD)
    assert reuse.comes(NEW) == []
    assert reuse.waits(("bar.com", "10.0.0.1:80", "new@2"))
    assert reuse.comes(OLD) == [("bar.com", "10.0.0.1:80", "new@2"), ("foo.com", "10.0.0.1:80", "old@1")]
    assert len(reuse) == 0
    assert reuse.settled([replace(OLD, gone=True)]) == []


def test_a_waiting_one_that_leaves_waits_no_more_and_holds_up_the_next() -> None:
    reuse = AddressReuse()
    reuse.leaves(OLD)
    reuse.comes(NEW)
    reuse.leaves(NEW)
    assert len(reuse) == 0
    third = replace(NEW, owner="third@3")
    assert reuse.comes(third) == []
    assert reuse.settled([replace(OLD, gone=True)]) == []
    assert reuse.settled([replace(NEW, gone=True)]) == [("bar.com", "10.0.0.1:80", "third@3")]


def test_keys_without_address_never_wait() -> None:
    reuse = AddressReuse()
    known = Entry("foo.com", owner="old@1")
    reuse.leaves(known)
    assert reuse.comes(replace(known, owner="new@2")) == [("foo.com", "", "new@2")]
