"""Which vars of a request the relay reads, and what they mean.  Pure.

:func:`~fastroute.router.protocol.wire.find_vars` looks at all vars of every request once: for the key, the size of
the body and, with an access log, what its line shows. The rest is looked up only where it is needed (a path key
exists, iphash, a retry, a worker that keeps connections), from the packet as it was read, whose vars are known to be
well-formed by then.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from fastroute.router.protocol.wire import HEADER_SIZE, VarNames, WireError, append_vars, decode_vars
from fastroute.router.relay.content_length import is_length

#: Values of REMOTE_ADDR, REMOTE_USER, REQUEST_METHOD, REQUEST_URI, SERVER_PROTOCOL, HTTP_REFERER, HTTP_USER_AGENT,
#: HTTP_X_REQUEST_ID and HTTP_X_REQUEST_START; empty: not there.
LogVars = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]

NO_LOG_VARS: Final[LogVars] = (b"", b"", b"", b"", b"", b"", b"", b"", b"")

#: What every request is searched for.
REQUEST_VARS: Final = VarNames(b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME", b"CONTENT_LENGTH")
#: The same, and what a line of the access log shows.
LOGGED_VARS: Final = VarNames(
    b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME", b"CONTENT_LENGTH", b"REMOTE_ADDR", b"REMOTE_USER",
    b"REQUEST_METHOD", b"REQUEST_URI", b"SERVER_PROTOCOL", b"HTTP_REFERER", b"HTTP_USER_AGENT", b"HTTP_X_REQUEST_ID",
    b"HTTP_X_REQUEST_START",
)  # fmt: skip
#: Methods that may be sent to a second worker when the first closed without a byte (docs/reference/requests.md).
REPEATABLE: Final = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")


def requested_key(values: dict[bytes, bytes]) -> bytes:
    """The key that a request with these ``values`` asks for; empty when they name none, or only empty ones."""
    key = values.get(b"UWSGI_FASTROUTER_KEY") or values.get(b"HTTP_HOST") or values.get(b"SERVER_NAME")
    return key or b""


def log_vars(values: dict[bytes, bytes]) -> LogVars:
    """Those of the ``values`` that a line of the access log shows."""
    return (
        values.get(b"REMOTE_ADDR", b""),
        values.get(b"REMOTE_USER", b""),
        values.get(b"REQUEST_METHOD", b""),
        values.get(b"REQUEST_URI", b""),
        values.get(b"SERVER_PROTOCOL", b""),
        values.get(b"HTTP_REFERER", b""),
        values.get(b"HTTP_USER_AGENT", b""),
        values.get(b"HTTP_X_REQUEST_ID", b""),
        values.get(b"HTTP_X_REQUEST_START", b""),
    )


def with_logged_id(logged: LogVars, number: bytes) -> LogVars:
    """``logged``, with this X-Request-ID."""
    client, user, method, uri, protocol, referer, agent, _, start = logged
    return client, user, method, uri, protocol, referer, agent, number, start


def body_size(content_length: bytes) -> int:
    """CONTENT_LENGTH as a number; 0 when it is empty or no number."""
    return int(content_length) if content_length.isdigit() and len(content_length) < 20 else 0


def variables(packet: bytes, end: int) -> dict[bytes, bytes]:
    """All vars; of repeated ones the last, as a WSGI application sees them."""
    return dict(decode_vars(packet, HEADER_SIZE, end))


def variable(packet: bytes, end: int, name: bytes) -> bytes:
    """The value of one var, empty when it is absent."""
    if packet.find(name, HEADER_SIZE, end) < 0:
        return b""
    return variables(packet, end).get(name, b"")


def with_variable(packet: bytes, end: int, name: bytes, value: bytes) -> tuple[bytes, int]:
    """``packet`` with one var more, and where the vars end; as it was when there is no room left.

    What follows the vars (the beginning of a body) stays behind them.
    """
    try:
        longer = append_vars(packet, [(name, value)], end)
    except WireError:
        return packet, end
    return longer, end + len(longer) - len(packet)


def repeatable(packet: bytes, end: int) -> bool:
    """True for a request without body whose method changes nothing: it may be sent twice."""
    if len(packet) > end:
        return False
    values = variables(packet, end)
    if values.get(b"HTTP_TRANSFER_ENCODING") and not values.get(b"CONTENT_LENGTH"):
        return False
    return values.get(b"REQUEST_METHOD") in REPEATABLE and values.get(b"CONTENT_LENGTH", b"").strip(b"0") == b""


def framing(packet: bytes, end: int) -> tuple[bytes, int]:
    """Method, and size of the body in bytes; -1 where a worker might read it another way than we do."""
    method = length = b""
    repeated = chunked = False
    for name, value in decode_vars(packet, HEADER_SIZE, end):
        if name == b"REQUEST_METHOD":
            method = value
        elif name == b"CONTENT_LENGTH":
            repeated = bool(length)
            length = value
        elif name == b"HTTP_TRANSFER_ENCODING":
            chunked = bool(value)
    if repeated or (chunked and not length) or (length and not is_length(length)):
        return method, -1
    return method, int(length or 0)


def path_of(packet: bytes, end: int) -> bytes:
    """The request's path: PATH_INFO, which is percent-decoded, else REQUEST_URI without its query, which is not."""
    if path := variable(packet, end, b"PATH_INFO"):
        return path
    return unquote_to_bytes(variable(packet, end, b"REQUEST_URI").partition(b"?")[0])
