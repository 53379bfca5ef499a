"""Signed subscriptions: which are believed, and which holes of the original are closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from support.entries import make_entry
from support.keys import key_pair, signed, write_public

from fastroute.router.control.auth.authenticator import Admitted, AskAgain, PacketAuthenticator, Refused
from fastroute.router.control.auth.rules import AdmissionRules
from fastroute.router.control.auth.signatures import STAMP_TOLERANCE, SignatureStamps, SignatureVerifier
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError, decode, encode_plain
from fastroute.router.protocol.wire import append_vars

FAR = ip_address("203.0.113.9")
NOW = 1_700_000_000


def packet(key: str = "foo.com", address: str = "10.0.0.1:80", *, weight: int = 1, gone: bool = False) -> bytes:
    return encode_plain(make_entry(key, address, weight=weight, gone=gone), Announcement())


class Signed:
    """An authenticator that believes keys of foo.com and a.b:8000."""

    def __init__(self, directory: Path) -> None:
        write_public(directory / "foo.com.pem", key_pair())
        write_public(directory / "a.b%3A8000.pem", key_pair(1))
        self.directory = directory
        self.wall = float(NOW)
        self.stamps = SignatureStamps()
        self.start()

    def start(self) -> None:
        """The router, again."""
        signatures = SignatureVerifier("sha256", str(self.directory))
        self.authenticator = PacketAuthenticator(AdmissionRules(["127.0.0.0/8"]), None, 0.0, signatures, self.stamps)

    def say(self, datagram: bytes, sender: str = "203.0.113.9") -> Admitted | AskAgain | Refused:
        return self.authenticator.authenticate(datagram, ip_address(sender), 999, 0.0, self.wall)

    def refusal(self, datagram: bytes, sender: str = "203.0.113.9") -> str:
        result = self.say(datagram, sender)
        assert isinstance(result, Refused)
        return result.reason


@pytest.fixture
def router(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def leave(datagram: bytes) -> bytes:
    """The same bytes with the other modifier2: what somebody without the key can make of a join."""
    return datagram[:3] + b"\x01" + datagram[4:]


def test_each_key_is_announced_from_anywhere_by_who_has_its_private_key_and_by_nobody_else(router: Signed) -> None:
    assert isinstance(router.say(signed(packet(), NOW, key_pair())), Admitted)
    assert isinstance(router.say(signed(packet("a.b:8000"), NOW, key_pair(1))), Admitted)
    assert router.refusal(signed(packet(), NOW, key_pair(1))) == "bad-signature"
    assert router.refusal(signed(packet(), NOW, key_pair(1)), "127.0.0.1") == "bad-signature", "a wrong one is no none"
    assert router.refusal(packet()) == "sender"
    assert isinstance(router.say(packet(), "127.0.0.1"), Admitted), "who needs no signature may do without"


def test_a_key_without_file_and_a_file_that_is_no_key_say_which(router: Signed) -> None:
    (router.directory / "bad.com.pem").write_text("no key")
    for key, why in (("other.com", "other.com.pem: No such file"), ("bad.com", "is no RSA public key")):
        result = router.say(signed(packet(key), NOW, key_pair()))
        assert isinstance(result, Refused)
        assert result.reason == "no-key"
        assert why in result.text


@pytest.mark.parametrize("key", ["a.b/8000", "a.b_8000", "*.a.b:8000", "a.b%3a8000"])
def test_no_two_keys_share_a_file(router: Signed, key: str) -> None:
    write_public(router.directory / "a.b_8000.pem", key_pair())
    assert router.refusal(signed(packet(key), NOW, key_pair(1))) in ("no-key", "bad-signature")
    assert router.refusal(signed(packet("a.b:8000"), NOW, key_pair())) == "bad-signature"


def test_a_key_file_that_is_replaced_counts_at_once(router: Signed) -> None:
    assert isinstance(router.say(signed(packet(), NOW, key_pair())), Admitted)
    write_public(router.directory / "new", key_pair(1))
    (router.directory / "new").rename(router.directory / "foo.com.pem")
    assert router.refusal(signed(packet(), NOW + 1, key_pair())) == "bad-signature"
    assert isinstance(router.say(signed(packet(), NOW + 1, key_pair(1))), Admitted)


def test_no_byte_that_is_signed_can_change_and_sign_must_be_last(router: Signed) -> None:
    good = signed(packet(), NOW, key_pair())
    for at in range(4, len(good)):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert isinstance(router.say(changed), Refused), at
    assert router.refusal(append_vars(good, [(b"weight", b"9")])) == "sender"
    assert isinstance(router.say(good), Admitted)


def test_a_signature_speaks_for_no_controller_and_not_for_the_senders_ip(router: Signed) -> None:
    head = Announcement(source="docker", instance=9, seq=1)
    assert router.refusal(signed(encode_plain(Entry("foo.com", "10.0.0.1:80"), head), NOW, key_pair())) == "untrusted"
    assert router.refusal(signed(packet(address=":80"), NOW, key_pair())) == "foreign-address"


class TestHolesOfTheOriginal:
    def test_a_captured_join_is_no_leave_however_late(self, router: Signed) -> None:
        joins = [signed(packet(), NOW + second, key_pair()) for second in (0, 10, 20)]
        for join in joins:
            router.wall = float(decoded(join).stamp)
            assert isinstance(router.say(join), Admitted)
            assert router.refusal(leave(join)) == "replay"
        assert [router.refusal(leave(join)) for join in joins] == ["replay"] * 3

    def test_a_real_leave_of_the_same_second_counts_and_makes_no_join_of_it(self, router: Signed) -> None:
        assert isinstance(router.say(signed(packet(), NOW, key_pair())), Admitted)
        goodbye = signed(packet(gone=True), NOW + 1, key_pair())
        result = router.say(goodbye)
        assert isinstance(result, Admitted)
        assert result.announcement.entries[0].gone
        assert router.refusal(goodbye[:3] + b"\0" + goodbye[4:]) == "replay", "it does not come back by it"
        assert isinstance(router.say(signed(packet(), NOW + 2, key_pair())), Admitted)

    def test_a_replay_is_refused_and_another_packet_of_the_same_second_is_not(self, router: Signed) -> None:
        first, second = (signed(packet(weight=weight), NOW, key_pair()) for weight in (1, 2))
        assert isinstance(router.say(first), Admitted)
        assert isinstance(router.say(second), Admitted)
        assert [router.refusal(one) for one in (first, second)] == ["replay", "replay"]
        router.start()
        assert router.refusal(first) == "replay", "not even after a restart"
        router.wall += 10
        assert isinstance(router.say(signed(packet(), NOW + 10, key_pair())), Admitted)
        assert router.refusal(second) == "replay"

    def test_stamps_far_from_our_clock_are_refused(self, router: Signed) -> None:
        for stamp in (NOW + STAMP_TOLERANCE + 2, NOW - STAMP_TOLERANCE - 2, 0, 2**62):
            assert router.refusal(signed(packet(), stamp, key_pair())) == "bad-stamp"
        for stamp in (NOW - STAMP_TOLERANCE, NOW + STAMP_TOLERANCE):
            assert isinstance(router.say(signed(packet(), stamp, key_pair())), Admitted)


def decoded(datagram: bytes) -> Announcement:
    said = decode(datagram)
    assert isinstance(said, Announcement)
    return said


def test_what_is_remembered_ends_with_the_tolerance_and_survives_a_snapshot() -> None:
    stamps = SignatureStamps()
    for number in range(100):
        stamps.remember(decoded(signed(packet(address=f"10.0.0.{number}:80"), NOW, key_pair())), NOW)
    again = SignatureStamps()
    again.restore(stamps.rows())
    with pytest.raises(PacketError, match="here before"):
        again.check(decoded(signed(packet(), NOW, key_pair())), NOW)
    late = decoded(signed(packet(address="10.0.0.9:80"), NOW + STAMP_TOLERANCE + 2, key_pair()))
    again.remember(late, NOW + STAMP_TOLERANCE + 2)
    assert len(again.rows()) == 1
    again.remember(decoded(signed(packet("b.c", gone=True), NOW + 400, key_pair())), NOW + 400)
    assert len(again.rows()) == 1, "a leave of what never was"
