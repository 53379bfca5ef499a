"""The secret's file, the hmac of packets, and what an announcer believes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.protocol.proof import (
    PROOF_SIZE,
    Prover,
    SecretError,
    exposure,
    has_proof,
    read_secret,
    sign,
    sign_ack,
    verify,
)
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode_ack, encode_plain

SECRET = b"0123456789abcdef0123456789abcdef"
PACKET = encode_plain(Entry("foo.com", "10.0.0.1:80"), Announcement(ack=True))


def test_a_secret_is_what_the_file_holds_between_blanks(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\n " + SECRET + b"\r\n")
    assert read_secret(str(tmp_path / "secret")) == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b" \n", "empty"), (b"fifteen bytes..", "at least 16"), (b"x" * 5000, "at most 4096")],
)
def test_a_file_that_holds_no_secret_says_why(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SecretError, match=why) as caught:
        read_secret(str(file))
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="directory"):
        read_secret(str(tmp_path))


@pytest.mark.parametrize(("mode", "said"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_may_read_is_said(mode: int, said: bool, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    file.chmod(mode)
    assert bool(exposure(str(file))) is said


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_a_signed_packet_can_change(value: bytes, at: int, flip: int) -> None:
    signed = sign(encode_plain(Entry("k", "/" + value.hex()[:100]), Announcement()), SECRET)
    assert verify(signed, SECRET)
    at %= len(signed)
    changed = signed[:at] + bytes([signed[at] ^ flip]) + signed[at + 1 :]
    assert not verify(changed, SECRET)
    assert not verify(signed, SECRET + b"x")
    assert not verify(signed[:at], SECRET)


@given(st.binary(max_size=100))
def test_any_bytes_have_no_proof(data: bytes) -> None:
    assert not verify(data, SECRET)
    assert not has_proof(data) or len(data) >= 44


def test_a_sealed_packet_says_what_it_said_and_is_never_the_same_twice() -> None:
    prover = Prover(SECRET)
    first, second = prover.seal(PACKET), prover.seal(PACKET)
    assert first != second
    said = decode(first)
    assert isinstance(said, Announcement)
    assert said.entries[0].address == "10.0.0.1:80"
    assert len(first) <= len(PACKET) + PROOF_SIZE


class TestWhatAnAnnouncerBelieves:
    def setup_method(self) -> None:
        self.prover = Prover(SECRET)
        sealed = decode(self.prover.seal(PACKET))
        assert isinstance(sealed, Announcement)
        self.nonce = sealed.nonce

    def answer(self, secret: bytes = SECRET, nonce: str | None = None) -> bytes:
        ack = encode_ack(Ack(1, "00ff", "applied"))
        return sign_ack(ack, secret, "a" * 16, self.nonce if nonce is None else nonce)

    def test_an_ack_of_its_packet_once(self) -> None:
        answer = self.answer()
        assert self.prover.open(answer) is not None
        assert self.prover.open(answer) is None
        later = decode(self.prover.seal(PACKET))
        assert isinstance(later, Announcement)
        assert later.session == "a" * 16, "it names the session that the ack told"

    def test_no_ack_without_proof_of_another_secret_or_of_a_packet_of_others(self) -> None:
        forged = [encode_ack(Ack(1, "00ff", "refused")), self.answer(SECRET[::-1]), self.answer(nonce="0" * 32), b""]
        assert [self.prover.open(one) for one in forged] == [None] * 4
        assert self.prover.unproven == 4
        assert self.prover.open(self.answer()) is not None

    def test_no_announcement_sent_back_to_it(self) -> None:
        assert self.prover.open(self.prover.seal(PACKET)) is None
