"""What the relay may need to know of a request beyond its key.  Pure.

All of it is looked at only where it is needed (a path key exists, iphash, a retry, a body that did not come with the
head), from the packet as it was read: header, vars, perhaps the beginning of the body.  The vars are known to be
well-formed here: requested_key (asked.py) has walked them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from fastroute.router.wire import HEADER_SIZE, MAX_BLOCK, WireError, decode_vars

if TYPE_CHECKING:
    from fastroute.router.relay.pool import Node

#: Methods that may be sent to a second worker when the first closed without a byte (docs/reference/requests.md).
REPEATABLE: Final = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")

_HTTP: Final = re.compile(rb"[A-Z]{3,10} [^\r\n ]{1,8000} HTTP/1\.[01]\r?\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_TLS: Final = re.compile(rb"\x16\x03[\x00-\x04]")


def variables(packet: bytes, end: int) -> dict[bytes, bytes]:
    """All vars; of repeated ones the last, as a WSGI application sees them."""
    return dict(decode_vars(packet[HEADER_SIZE:end]))


def variable(packet: bytes, end: int, name: bytes) -> bytes:
    """The value of one var, empty when it is absent."""
    if packet.find(name, HEADER_SIZE, end) < 0:
        return b""
    return variables(packet, end).get(name, b"")


def with_variable(packet: bytes, end: int, name: bytes, value: bytes) -> tuple[bytes, int]:
    """``packet`` with one var more, and where the vars end; as it was when there is no room left.

    What follows the vars (the beginning of a body) stays behind them.
    """
    more = b"%c%c%b%c%c%b" % (len(name) & 255, len(name) >> 8, name, len(value) & 255, len(value) >> 8, value)
    size = end - HEADER_SIZE + len(more)
    if size > MAX_BLOCK:
        return packet, end
    head = b"%c%c%c%c" % (packet[0], size & 255, size >> 8, packet[3])
    return head + packet[HEADER_SIZE:end] + more + packet[end:], size + HEADER_SIZE


def body_size(packet: bytes, end: int) -> int:
    """CONTENT_LENGTH as a number; 0 when it is empty, absent or no number."""
    text = variable(packet, end, b"CONTENT_LENGTH")
    return int(text) if text.isdigit() and len(text) < 20 else 0


def repeatable(packet: bytes, end: int) -> bool:
    """True for a request without body whose method changes nothing: it may be sent twice."""
    if len(packet) > end:
        return False
    found = variables(packet, end)
    if found.get(b"HTTP_TRANSFER_ENCODING") and not found.get(b"CONTENT_LENGTH"):
        return False
    return found.get(b"REQUEST_METHOD") in REPEATABLE and found.get(b"CONTENT_LENGTH", b"").strip(b"0") == b""


def framing(packet: bytes, end: int) -> tuple[bytes, int]:
    """Method, and size of the body in bytes; -1 where a worker might read it another way than we do."""
    method = length = b""
    repeated = coded = False
    at = HEADER_SIZE
    while at < end:
        name = at + 2
        size = packet[at] | packet[at + 1] << 8
        at = name + size
        value = at + 2
        stop = value + (packet[at] | packet[at + 1] << 8)
        if size == 14:
            if packet[name:at] == b"REQUEST_METHOD":
                method = packet[value:stop]
            elif packet[name:at] == b"CONTENT_LENGTH":
                repeated = bool(length)
                length = packet[value:stop]
        elif size == 22 and packet[name:at] == b"HTTP_TRANSFER_ENCODING":
            coded = stop > value
        at = stop
    if repeated or (coded and not length) or (length and _DIGITS.fullmatch(length) is None):
        return method, -1
    return method, int(length or 0)


def with_modifiers(packet: bytes, node: Node) -> bytes:
    """``packet`` as ``node`` gets it."""
    if packet[0] == node.modifier1 and packet[3] == node.modifier2:
        return packet
    return b"%c%b%c%b" % (node.modifier1, packet[1:3], node.modifier2, packet[4:])


def path_of(packet: bytes, end: int) -> bytes:
    """The request's path: PATH_INFO, which is percent-decoded, else REQUEST_URI without its query, which is not."""
    if found := variable(packet, end, b"PATH_INFO"):
        return found
    return unquote_to_bytes(variable(packet, end, b"REQUEST_URI").partition(b"?")[0])


def not_uwsgi(data: bytes | bytearray, end: int) -> str:
    """Why an incomplete packet will never become one, or empty while it still may."""
    if _HTTP.match(data):
        return "this is an HTTP request, and a uwsgi packet is expected here (nginx: uwsgi_pass, not proxy_pass)"
    if _TLS.match(data):
        return "this is TLS, and a uwsgi packet is expected here"
    at = HEADER_SIZE
    while at < end and at + 2 <= len(data):
        size = data[at] | data[at + 1] << 8
        if not size or at + 2 + size + 2 > end:
            return f"the name at byte {at} has {size} bytes: not a block of uwsgi vars"
        at += 2 + size
        if at + 2 > len(data):
            break
        at += 2 + (data[at] | data[at + 1] << 8)
        if at > end:
            return f"the value before byte {at} runs past the end of the vars at byte {end}"
    return ""


def whole_block_problem(packet: bytes, end: int) -> str:
    """What is wrong with vars that requested_key refused, for people."""
    try:
        decode_vars(packet[HEADER_SIZE:end])
    except WireError as error:
        return str(error)
    return "not a block of uwsgi vars"
