"""Who may say what, and what is of now: the way of a datagram into the table."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from fastroute.router.control.auth.authenticator import Admitted, AskAgain, PacketAuthenticator, Refused
from fastroute.router.control.auth.rate_limit import MAX_SENDERS, PACKET_COST, REMOTE, Allowance, RateLimits
from fastroute.router.control.auth.replay_guard import MAX_ANNOUNCERS, REPLAY_WINDOW, SESSION_LENGTH, ReplayGuard
from fastroute.router.control.auth.rules import AdmissionRules, IPAddress
from fastroute.router.protocol.proof import Prover, sign_ack
from fastroute.router.protocol.subscription import (
    Ack,
    Announcement,
    Entry,
    PacketError,
    encode,
    encode_ack,
    encode_plain,
)
from fastroute.router.runtime.own_sockets import OwnSockets

Result = Admitted | AskAgain | Refused

SECRET = b"0123456789abcdef"
OWNS = OwnSockets([("127.0.0.1:3031", None, False)]).owns
FAR, NEAR = ip_address("203.0.113.9"), ip_address("10.0.0.7")
NODE = encode_plain(Entry("foo.com", "10.9.9.9:80"), Announcement())
JOIN, LEAVE = NODE, encode_plain(Entry("foo.com", "10.9.9.9:80", gone=True), Announcement())
BATCH = encode(Announcement(entries=(Entry("foo.com", "10.9.9.9:80"),), source="docker", instance=1, seq=1, ack=True))


class Wired:
    """An authenticator with the secret, and an announcer that has spoken to it already."""

    def __init__(self, secret: bytes = SECRET) -> None:
        self.now = 0.0
        self.authenticator = PacketAuthenticator(AdmissionRules(["127.0.0.0/8", "10.0.0.0/8"], OWNS), SECRET, 0.0)
        self.prover = Prover(secret)

    def say(self, packet: bytes, sender: IPAddress | None = FAR) -> Result:
        return self.authenticator.authenticate(packet, sender, 999, self.now, 0.0)

    def meet(self, prover: Prover | None = None) -> None:
        """Let ``prover`` learn the session, as an announcer does."""
        prover = prover or self.prover
        result = self.say(prover.seal(BATCH))
        assert isinstance(result, AskAgain)
        ack = sign_ack(encode_ack(Ack(1, "00ff", "again")), SECRET, self.authenticator.session(self.now), result.nonce)
        assert prover.open(ack) is not None


def reason(result: Result) -> str:
    assert isinstance(result, Refused)
    return result.reason


def test_with_the_secret_anybody_may_name_any_address_and_speak_as_a_controller() -> None:
    wired = Wired()
    wired.meet()
    for packet in (NODE, BATCH):
        result = wired.say(wired.prover.seal(packet))
        assert isinstance(result, Admitted)
    assert reason(wired.say(NODE)) == "sender"
    assert reason(wired.say(NODE, NEAR)) == "foreign-address"
    assert reason(wired.say(BATCH, NEAR)) == "untrusted"


def test_nobody_makes_the_router_its_own_node_and_no_proof_covers_the_senders_ip() -> None:
    wired = Wired()
    wired.meet()
    for address, why in (
        ("127.0.0.1:3031", "own-address"),
        (":80", "foreign-address"),
        ("0.0.0.0:80", "foreign-address"),
    ):
        packet = encode_plain(Entry("foo.com", address), Announcement())
        assert reason(wired.say(wired.prover.seal(packet))) == why


def test_a_proof_of_another_secret_is_worth_less_than_none() -> None:
    wired = Wired()
    for sender in (FAR, ip_address("127.0.0.1"), None):
        result = wired.say(Prover(b"another secret of us").seal(BATCH), sender)
        assert reason(result) == "bad-proof"
        assert isinstance(result, Refused)
        assert result.seq is None, "it gets no answer"


def test_without_a_secret_a_proof_says_nothing() -> None:
    authenticator = PacketAuthenticator(AdmissionRules(["127.0.0.0/8"]), None)
    sealed = Prover(SECRET).seal(NODE)
    assert reason(authenticator.authenticate(sealed, FAR, 1, 0.0, 0.0)) == "sender"
    assert isinstance(authenticator.authenticate(sealed, ip_address("127.0.0.1"), 1, 0.0, 0.0), Admitted)


def test_a_recorded_packet_does_nothing_here_later_elsewhere_or_as_a_goodbye() -> None:
    wired = Wired()
    wired.meet()
    recorded = wired.prover.seal(JOIN)
    assert isinstance(wired.say(recorded), Admitted)
    result = wired.say(recorded)
    assert reason(result) == "replay"
    assert isinstance(result, Refused)
    assert result.seq is None, "no ack: its sender would take it for its own"
    goodbye = recorded[:3] + b"\x01" + recorded[4:]
    assert reason(wired.say(goodbye)) == "bad-proof"
    other = Wired()
    assert isinstance(other.say(recorded), AskAgain), "another router, or another life of this one, asks again"
    unsent = wired.prover.seal(JOIN)
    wired.now = 2 * SESSION_LENGTH + 1
    assert isinstance(wired.say(unsent), AskAgain), "what was held back is of no session that counts"


def test_a_join_held_back_does_not_undo_a_leave() -> None:
    wired = Wired()
    wired.meet()
    held_back = wired.prover.seal(JOIN)
    assert isinstance(wired.say(wired.prover.seal(LEAVE)), Admitted)
    assert reason(wired.say(held_back)) == "replay"


def test_packets_with_an_order_of_their_own_may_overtake_each_other() -> None:
    wired = Wired()
    wired.meet()
    sealed = [wired.prover.seal(BATCH) for _ in range(REPLAY_WINDOW)]
    random.Random(1).shuffle(sealed)
    assert all(isinstance(wired.say(packet), Admitted) for packet in sealed)
    assert [reason(wired.say(packet)) for packet in sealed] == ["replay"] * REPLAY_WINDOW


def test_repeating_what_others_proved_is_held_to_the_senders_rate() -> None:
    wired = Wired()
    stranger = Prover(SECRET).seal(BATCH)
    reasons = {result.reason for _ in range(2_000) if isinstance(result := wired.say(stranger), Refused)}
    assert reasons == {"limited"}
    wired.now += 60
    wired.meet()
    assert all(isinstance(wired.say(wired.prover.seal(BATCH)), Admitted) for _ in range(5_000)), "proven: no limit"


def test_a_flood_from_one_sender_is_cut_and_others_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastroute.router.control.auth.authenticator.LOCAL", Allowance(rate=1e6, burst=100e3))
    wired = Wired()
    own = encode_plain(Entry("foo.com", ":80"), Announcement())
    results = [wired.say(own, NEAR) for _ in range(3_000)]
    assert sum(isinstance(result, Admitted) for result in results) == REMOTE.burst // (PACKET_COST + len(own))
    assert reason(results[-1]) == "limited"
    assert isinstance(wired.say(own, ip_address("10.0.0.8")), Admitted)
    assert isinstance(wired.say(NODE, None), Admitted)
    local = ip_address("127.0.0.1")
    flood = [wired.authenticator.authenticate(own, local, 1, 0.0, 0.0) for _ in range(1_000)]
    assert isinstance(flood[-1], Refused)
    assert isinstance(wired.authenticator.authenticate(own, local, 2, 0.0, 0.0), Admitted), (
        "another socket on this machine"
    )


class TestReplayGuard:
    def nonce(self, count: int, prefix: int = 1) -> str:
        return f"{prefix:016x}{count:016x}"

    def test_sessions_follow_each_other_and_the_last_one_still_counts(self) -> None:
        guard = ReplayGuard(0.0, iter("abcd").__next__)
        assert guard.check("", self.nonce(1), ordered=True, now=0) == "again"
        assert guard.check("a", self.nonce(1), ordered=True, now=0) == "fresh"
        assert guard.session(SESSION_LENGTH) == "b"
        assert guard.check("a", self.nonce(1), ordered=True, now=SESSION_LENGTH) == "replay"
        assert guard.check("a", self.nonce(2), ordered=True, now=SESSION_LENGTH) == "fresh"
        assert guard.check("a", self.nonce(3), ordered=True, now=2 * SESSION_LENGTH) == "again"
        assert guard.check("c", self.nonce(2), ordered=True, now=2 * SESSION_LENGTH) == "replay"
        assert guard.check("c", self.nonce(9), ordered=True, now=4 * SESSION_LENGTH) == "again", (
            "nobody spoke for a while"
        )
        assert guard.check("", self.nonce(9), ordered=True, now=4 * SESSION_LENGTH) == "again"

    def test_who_is_silent_for_two_sessions_is_forgotten_and_so_is_who_makes_too_many(self) -> None:
        guard = ReplayGuard(0.0, iter(map(str, range(10**6))).__next__)
        for prefix in range(MAX_ANNOUNCERS + 1):
            assert guard.check("0", self.nonce(1, prefix), ordered=True, now=0) == "fresh"
        assert guard.check("0", self.nonce(1), ordered=True, now=0) == "again", "all are asked again"
        assert guard.check("1", self.nonce(1), ordered=True, now=0) == "fresh"

    def test_what_one_announcer_costs_is_bounded(self) -> None:
        guard = ReplayGuard(0.0, lambda: "a")
        for count in range(1, 10 * REPLAY_WINDOW):
            assert guard.check("a", self.nonce(count), ordered=True, now=0) == "fresh"
        (seen,) = guard._seen.values()
        assert len(seen.recent) <= 2 * REPLAY_WINDOW
        assert guard.check("a", self.nonce(1), ordered=True, now=0) == "replay"

    @pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 33, "g" * 32, "é" * 32])
    def test_a_nonce_that_is_none_is_refused(self, nonce: str) -> None:
        with pytest.raises(PacketError, match="nonce"):
            ReplayGuard(0.0).check("a", nonce, ordered=True, now=0)


def test_limits_fill_again_with_time_and_remember_a_bounded_number_of_senders() -> None:
    limits, allowance = RateLimits(), Allowance(rate=10, burst=2)
    assert [limits.allow("a", allowance, 0.0) for _ in range(3)] == [True, True, False]
    assert limits.allow("a", allowance, 0.1)
    assert not limits.allow("a", allowance, 0.1)
    for number in range(2 * MAX_SENDERS):
        assert limits.allow(number, allowance, 0.2)
    assert len(limits._buckets) == MAX_SENDERS
