"""The uwsgi packet of a request that came as HTTP/1.1: the vars that nginx's uwsgi_params would send.  Pure.

The rest of the router knows requests as uwsgi packets, whatever their clients speak.  What is not as in uwsgi_params:

* ``HTTP_X_FORWARDED_FOR``, ``_PROTO``, ``_HOST`` and ``_PORT``: of a trusted peer (another proxy) they stay as they
  came, and the last X-Forwarded-For is REMOTE_ADDR; of others they say what is seen here, and nothing that such a
  client says of its origin gets through.  ``FASTROUTE_FORWARDED`` says that they are ours (head.py).
* ``HTTP_TRANSFER_ENCODING`` is there for a body in chunks, ``HTTP_UPGRADE`` and ``HTTP_CONNECTION`` for an upgrade.
  Content-Type and Content-Length are not repeated as ``HTTP_*``.
* SERVER_NAME is the host that was asked for, without its port.  DOCUMENT_ROOT is empty: there are no files here.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from fastroute.router.protocol.wire import MAX_BLOCK, encode_name, encode_packet, encode_value
from fastroute.router.relay.http.head import header_line
from fastroute.router.relay.http.header_names import (
    NO_LINE,
    REFERER,
    REQUEST_ID,
    REQUEST_START,
    USER_AGENT,
    header_var,
)
from fastroute.router.relay.http.request_head import BadHead, RequestHead
from fastroute.router.relay.quoting import quoted
from fastroute.router.relay.trusted_networks import TrustedNetworks
from fastroute.router.relay.vars import LogVars

#: REMOTE_ADDR of a client on a unix socket, as nginx has it.
UNIX_CLIENT: Final = b"unix:"

_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
#: An IP address as proxies write it: alone, in brackets, or with a port.
_CLIENT_ADDRESS: Final = re.compile(
    rb"([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5})?"
    rb"|\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?"
    rb"|([0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,40})"
)
_HOST_PORT: Final = re.compile(rb":([0-9]{1,5})\Z")
_PORT: Final = re.compile(rb"[0-9]{1,5}")
_BLANKS: Final = b" \t"
_PERCENT: Final = ord("%")
_DOT: Final = ord(".")

#: How the vars begin.
_QUERY_STRING: Final = encode_name(b"QUERY_STRING")
_REQUEST_METHOD: Final = encode_name(b"REQUEST_METHOD")
_CONTENT_TYPE: Final = encode_name(b"CONTENT_TYPE")
_CONTENT_LENGTH: Final = encode_name(b"CONTENT_LENGTH")
_REQUEST_URI: Final = encode_name(b"REQUEST_URI")
_PATH_INFO: Final = encode_name(b"PATH_INFO")
_DOCUMENT_ROOT: Final = encode_name(b"DOCUMENT_ROOT")
_SERVER_PROTOCOL: Final = encode_name(b"SERVER_PROTOCOL")
_REQUEST_SCHEME: Final = encode_name(b"REQUEST_SCHEME")
_HTTPS: Final = encode_name(b"HTTPS")
_REMOTE_ADDR: Final = encode_name(b"REMOTE_ADDR")
_REMOTE_PORT: Final = encode_name(b"REMOTE_PORT")
_SERVER_PORT: Final = encode_name(b"SERVER_PORT")
_SERVER_NAME: Final = encode_name(b"SERVER_NAME")
_HTTP_HOST: Final = encode_name(b"HTTP_HOST")
_HTTP_TRANSFER_ENCODING: Final = encode_name(b"HTTP_TRANSFER_ENCODING")
_HTTP_CONNECTION: Final = encode_name(b"HTTP_CONNECTION")
_HTTP_UPGRADE: Final = encode_name(b"HTTP_UPGRADE")
_FASTROUTE_FORWARDED: Final = encode_name(b"FASTROUTE_FORWARDED")
_PROTOCOLS: Final = (b"HTTP/1.0", b"HTTP/1.1")

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_HOST: Final = b"x-forwarded-host"
_FORWARDED_PORT: Final = b"x-forwarded-port"

#: What is believed of a peer that is not.
_NONE: Final[dict[bytes, bytes]] = {}


class HttpPeer:
    """Who is at the other end of a connection to an HTTP front.

    * ``address`` and ``port`` are as REMOTE_ADDR and REMOTE_PORT have them (a unix socket: ``UNIX_CLIENT``, and none).
    * ``server_port`` is ours; empty for a unix socket.
    * ``trusted``: it is another proxy, which is believed for whom it asks.
    * ``proxies``: those that X-Forwarded-For may name behind the client; None: its last address counts.
    * ``merges_slashes``: of several slashes in a row, PATH_INFO has one.
    """

    __slots__ = ("address", "asked", "forwarded", "merges_slashes", "origin", "port", "proxies", "server_port",
                 "trusted")  # fmt: skip

    def __init__(self, address: bytes, port: bytes, server_port: bytes, trusted: bool,
                 proxies: TrustedNetworks | None = None, merges_slashes: bool = True) -> None:  # fmt: skip
        self.address = address
        self.port = port
        self.server_port = server_port
        self.trusted = trusted
        self.proxies = proxies
        self.merges_slashes = merges_slashes
        #: Who asked last, and as what it knows us: mostly the next request says the same.
        self.origin = Origin(b"", _NONE, b"", b"", b"", b"")

    def origin_of(self, request: RequestHead) -> Origin:
        """Who asks with ``request``."""
        origin, host = self.origin, request.host
        forwarded = request.forwarded if self.trusted else _NONE
        if host != origin.host or forwarded != origin.forwarded:
            origin = self.origin = _origin(host, forwarded, self)
        return origin


class Origin:
    """Who asks, and as what it knows us; ``forwarded``: what a peer that is believed says of it."""

    __slots__ = ("_lines", "_vars", "address", "forwarded", "host", "port", "scheme", "server_port")

    def __init__(self, host: bytes, forwarded: dict[bytes, bytes], address: bytes, port: bytes, scheme: bytes,
                 server_port: bytes) -> None:  # fmt: skip
        self.host = host
        self.forwarded = forwarded
        self.address = address
        self.port = port
        self.scheme = scheme
        self.server_port = server_port
        self._vars = self._lines = b""

    def vars(self) -> bytes:
        """As a uwsgi worker gets it."""
        if not self._vars:
            self._vars = _origin_vars(self)
        return self._vars

    def lines(self) -> bytes:
        """As an HTTP worker gets it: lines of a head, each behind its CR LF."""
        if not self._lines:
            lines = [b"\r\nHost: ", self.host]
            for name, value in _passed_on(self).items():
                if value:
                    lines += (b"\r\n", header_line(header_var(name)[2:]) or name.title() + b": ", value)
            self._lines = b"".join(lines)
        return self._lines


def packet_of_request(request: RequestHead, peer: HttpPeer) -> bytes:
    """The packet: header and vars.  Raises ``BadHead``."""
    path, _, query = request.target.partition(b"?")
    parts = [
        _QUERY_STRING, encode_value(query),
        _REQUEST_METHOD, encode_value(request.method),
        _CONTENT_TYPE, encode_value(request.content_type),
        _CONTENT_LENGTH, encode_value(request.content_length),
        _REQUEST_URI, encode_value(request.target),
        _PATH_INFO, encode_value(path_info(path, peer.merges_slashes)),
        _SERVER_PROTOCOL, encode_value(_PROTOCOLS[request.http11]),
    ]  # fmt: skip
    parts.append(peer.origin_of(request).vars())
    if request.chunked:
        parts += (_HTTP_TRANSFER_ENCODING, encode_value(b"chunked"))
    if request.upgrade:
        parts += (_HTTP_CONNECTION, encode_value(b"Upgrade"), _HTTP_UPGRADE, encode_value(request.upgrade))
    for line in request.headers.values():
        parts.append(line.as_var())
    block = b"".join(parts)
    if len(block) > MAX_BLOCK:
        raise BadHead("too-large", f"the head makes {len(block)} bytes of vars, and at most {MAX_BLOCK} are possible")
    return encode_packet(0, 0, block)


def log_vars_of_head(request: RequestHead, peer: HttpPeer) -> LogVars:
    """What a line of the access log shows of ``request``."""
    headers = request.headers
    return (
        peer.origin_of(request).address,
        b"",
        request.method,
        request.target,
        _PROTOCOLS[request.http11],
        headers.get(REFERER, NO_LINE).value,
        headers.get(USER_AGENT, NO_LINE).value,
        headers.get(REQUEST_ID, NO_LINE).value,
        headers.get(REQUEST_START, NO_LINE).value,
    )


def _origin(host: bytes, forwarded: dict[bytes, bytes], peer: HttpPeer) -> Origin:
    """Who asks for ``host`` by ``peer``, which is believed in what it says by ``forwarded``."""
    hops = _hops(forwarded)
    address, port = peer.address, peer.port
    if hops:
        client = _client_of(hops, peer.proxies)
        if client:
            address, port = client, b""
    scheme = forwarded.get(_PROTO, b"").rpartition(b",")[2].strip(_BLANKS).lower()
    if scheme != b"https":
        scheme = b"http"
    server_port = forwarded.get(_FORWARDED_PORT, b"")
    if _PORT.fullmatch(server_port) is None:
        server_port = peer.server_port or (b"443" if scheme == b"https" else b"80")
    return Origin(host, forwarded, address, port, scheme, server_port)


def _hops(forwarded: dict[bytes, bytes]) -> bytes:
    return forwarded.get(_FOR, b"").strip(b" \t,")


def _origin_vars(origin: Origin) -> bytes:
    host, scheme = origin.host, origin.scheme
    named = _HOST_PORT.search(host)
    parts = [
        _HTTP_HOST, encode_value(host),
        _DOCUMENT_ROOT, encode_value(b""),
        _REQUEST_SCHEME, encode_value(scheme),
        _REMOTE_ADDR, encode_value(origin.address),
        _REMOTE_PORT, encode_value(origin.port),
        _SERVER_PORT, encode_value(origin.server_port),
        _SERVER_NAME, encode_value(host[: named.start()] if named is not None else host.removesuffix(b":")),
        _FASTROUTE_FORWARDED, encode_value(b"1"),
    ]  # fmt: skip
    if scheme == b"https":
        parts += (_HTTPS, encode_value(b"on"))
    for name, value in _passed_on(origin).items():
        if value:
            parts += (header_var(name), encode_value(value))
    return b"".join(parts)


def _passed_on(origin: Origin) -> dict[bytes, bytes]:
    """The headers by which a worker learns of it, by name; empty ones are left out."""
    host, forwarded = origin.host, origin.forwarded
    hops = _hops(forwarded)
    if not hops and origin.address != UNIX_CLIENT:
        hops = origin.address
    named = _HOST_PORT.search(host)
    return {
        **forwarded,
        _FOR: hops,
        _PROTO: origin.scheme,
        _HOST: forwarded.get(_HOST) or host,
        _FORWARDED_PORT: forwarded.get(_FORWARDED_PORT) or (named[1] if named is not None else origin.server_port),
    }


def _client_of(hops: bytes, proxies: TrustedNetworks | None) -> bytes:
    """The last address of ``hops`` that is none of the ``proxies``; if all are, the first; empty: it is no address."""
    client = b""
    for hop in reversed(hops.split(b",")):
        match = _CLIENT_ADDRESS.fullmatch(hop.strip(_BLANKS))
        if match is None:
            break
        client = match[1] or match[2] or match[3]
        if proxies is None or not proxies.trusts(client.decode()):
            break
    return client


def path_info(path: bytes, merges_slashes: bool = True) -> bytes:
    """PATH_INFO as nginx has it: percent signs decoded, slashes merged, dots resolved.  Raises ``BadHead``.

    Without ``merges_slashes`` as nginx has it with ``merge_slashes off``.
    """
    decoded = path
    if _PERCENT in path:
        bad = _BAD_PERCENT.search(path)
        if bad is not None:
            raise BadHead("bad-request", f"{quoted(path[bad.start() :], 3)} in the path")
        decoded = unquote_to_bytes(path)
    # Numbers where that is possible, and ``partition`` where not: request_head.py.
    doubled = bool(decoded.partition(b"//")[1])
    if not doubled and (_DOT not in decoded or decoded.find(b"/.") < 0):
        return decoded
    segments: list[bytes] = []
    last = b""
    for segment in decoded.split(b"/")[1:]:
        last = segment
        if segment == b"..":
            if doubled:
                raise BadHead("bad-request", f"the path {quoted(path)} may be read in two ways: slashes merged or not")
            if not segments:
                raise BadHead("bad-request", f"the path {quoted(path)} leaves the root")
            segments.pop()
        elif segment != b"." and (segment or not merges_slashes):
            segments.append(segment)
    resolved = b"/" + b"/".join(segments)
    if not merges_slashes and last == b"":
        return resolved
    return resolved + b"/" if last in (b"", b".", b"..") and segments else resolved
