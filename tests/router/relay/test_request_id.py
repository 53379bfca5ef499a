"""An id is put behind the other vars, and only where one is missing and fits."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from support.uwsgi_client import request_packet

from fastroute.router.protocol.wire import MAX_BLOCK, decode_header, decode_vars
from fastroute.router.relay.request_id import NAME, with_request_id


@given(st.binary(max_size=20), st.integers(0, 255))
def test_the_packet_stays_a_packet_and_the_body_behind_it(body: bytes, modifier: int) -> None:
    packet = bytes([modifier]) + request_packet("foo.com")[1:]
    end = len(packet)
    made, new_end, new_id = with_request_id(packet + body, end, random.Random(1))
    assert decode_header(made) == (modifier, new_end - 4, packet[3])
    *others, (name, value) = decode_vars(made[4:new_end])
    assert others == decode_vars(packet[4:end])
    assert (name, value, len(bytes.fromhex(value.decode()))) == (NAME, new_id, 16)
    assert made[new_end:] == body


def test_an_empty_one_counts_as_none() -> None:
    packet = request_packet("foo.com", HTTP_X_REQUEST_ID="")
    made, end, _ = with_request_id(packet, len(packet), random.Random(1))
    assert dict(decode_vars(made[4:end]))[NAME]


def test_vars_without_room_for_it_pass_as_they_are() -> None:
    short = request_packet("foo.com", FILL="")
    for room, grows in ((53, True), (52, False)):
        packet = request_packet("foo.com", FILL="x" * (MAX_BLOCK - room - (len(short) - 4)))
        assert len(packet) == MAX_BLOCK + 4 - room
        made, end, _ = with_request_id(packet, len(packet), random.Random(1))
        assert (end > len(packet)) is grows
        assert end - 4 <= MAX_BLOCK
        assert grows or made == packet


def test_ids_are_not_repeated() -> None:
    packet, chance = request_packet("foo.com"), random.Random()
    assert len({with_request_id(packet, len(packet), chance)[0] for _ in range(100)}) == 100
