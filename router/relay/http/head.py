"""A request's head in HTTP/1.1, made of its uwsgi vars.  Pure.

* Method and target are REQUEST_METHOD and REQUEST_URI; ``Host`` is HTTP_HOST, else SERVER_NAME, else the key.
* HTTP_* vars are headers, but those that concern one connection only (RFC 9110, 7.6.1), and ``Proxy`` (httpoxy).
  What ``Connection`` names besides is left alone, as nginx does: a client must not be able to take headers away.
* The body's framing is ours: CONTENT_LENGTH, else chunked if the vars say so, else there is none.  HTTP_CONTENT_LENGTH
  and the like are never passed on.  ``Expect`` is not either: whatever wrote the vars has answered 100 already.
* REMOTE_ADDR is appended to ``X-Forwarded-For`` unless it is its last address; ``X-Forwarded-Proto``, ``-Host`` and
  ``-Port`` are what the vars say of the request.  FASTROUTE_FORWARDED (any value) says that whoever wrote the vars
  wrote these headers too: then they stay as they are.
* No var with CR, LF, NUL or another control character but a tab gets through.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

from fastroute.router.protocol.wire import HEADER_SIZE, decode_vars
from fastroute.router.relay.content_length import is_length
from fastroute.router.relay.http.control_bytes import count_control_bytes
from fastroute.router.relay.quoting import quoted

#: ``length`` of a body in chunks.
CHUNKED: Final = -1

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"/[!-~]*|\*")
#: RFC 3986's host and port, without percent signs that stand for themselves.
HOST_PATTERN: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_PORT: Final = re.compile(rb":([0-9]{1,5})\Z")
_UPGRADE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z/]+")
#: Methods that say Content-Length: 0 rather than nothing (RFC 9110, 8.6).
BODIED: Final = (b"POST", b"PUT", b"PATCH")

#: Headers that are not passed on as they come, in whatever case and with whichever dashes a var names them.
_OURS: Final = (
    b"HOST", b"CONTENT-LENGTH", b"CONTENT-TYPE", b"CONNECTION", b"KEEP-ALIVE", b"PROXY", b"PROXY-AUTHORIZATION",
    b"PROXY-CONNECTION", b"TE", b"TRAILER", b"TRANSFER-ENCODING", b"UPGRADE", b"HTTP2-SETTINGS", b"EXPECT",
    b"X-FORWARDED-FOR", b"X-FORWARDED-PROTO", b"X-FORWARDED-HOST", b"X-FORWARDED-PORT",
)  # fmt: skip
#: Lists: of repeated ones all count.  Of other vars the last does, as in a WSGI environment.
_LISTS: Final = (b"HTTP_X_FORWARDED_FOR", b"HTTP_CONNECTION", b"HTTP_UPGRADE", b"HTTP_TRANSFER_ENCODING")
_MAX_NAMES: Final = 1024
#: Bytes of a name that is remembered: 64 KiB of vars may be one name.
_MAX_NAME: Final = 128
#: var -> how its line begins; empty for what makes no line of its own
_names: dict[bytes, bytes] = {}


class BadRequest(ValueError):
    """These vars make no request; the text says which, for people."""


class Head:
    """``text``: from request line to empty line.  ``length`` of the body in bytes, or ``CHUNKED``.

    ``upgrade``: the client asks for another protocol.  ``bodiless``: no answer to this has a body (HEAD).
    ``safe``: a GET or HEAD.
    """

    __slots__ = ("bodiless", "length", "safe", "text", "upgrade")

    def __init__(self, text: bytes, length: int, upgrade: bool, method: bytes) -> None:
        self.text = text
        self.length = length
        self.upgrade = upgrade
        self.bodiless = method == b"HEAD"
        self.safe = method == b"GET" or self.bodiless


def head_of(packet: bytes, end: int, key: bytes) -> Head:
    """The head of the request whose vars are ``packet[4:end]`` (well-formed ones), and which asks for ``key``."""
    values: dict[bytes, bytes] = {}
    lists: dict[bytes, list[bytes]] = {}
    lines: list[bytes] = [b"", b""]
    names = _names
    for name, value in decode_vars(packet, HEADER_SIZE, end):
        prefix = names.get(name)
        if prefix is None:
            prefix = _learn(name)
        if prefix:
            lines.append(prefix + value)
        elif name not in values:
            values[name] = value
        elif name in _LISTS:
            # Joined at the end, once: a request may repeat a header thousands of times.
            lists.setdefault(name, [values[name]]).append(value)
        else:
            _repeat(values, name, value)
    for name, parts in lists.items():
        values[name] = b", ".join(parts)
    get = values.get
    method = get(b"REQUEST_METHOD", b"")
    if _TOKEN.fullmatch(method) is None or method == b"CONNECT":
        raise BadRequest(f"REQUEST_METHOD {quoted(method, 40)}: a method other than CONNECT expected")
    lines[0] = b"%b %b HTTP/1.1" % (method, _target(values))
    host = get(b"HTTP_HOST") or get(b"SERVER_NAME") or key
    if HOST_PATTERN.fullmatch(host) is None:
        raise BadRequest(f"{quoted(host)} is no host")
    lines[1] = b"Host: " + host
    length = _length(values)
    if length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif length or get(b"CONTENT_LENGTH") or method in BODIED:
        lines.append(b"Content-Length: %d" % length)
    if get(b"CONTENT_TYPE"):
        lines.append(b"Content-Type: " + values[b"CONTENT_TYPE"])
    _forwarded(values, host, lines)
    protocol = upgrade_protocol(get(b"HTTP_UPGRADE", b""), get(b"HTTP_CONNECTION", b""))
    if protocol:
        lines.append(b"Connection: Upgrade")
        lines.append(b"Upgrade: " + protocol)
    text = b"\r\n".join(lines)
    if count_control_bytes(text) != 2 * (len(lines) - 1):
        raise BadRequest("a var has a control character, which no header may have")
    return Head(text + b"\r\n\r\n", length, bool(protocol), method)


def _learn(name: bytes) -> bytes:
    """How the line of the var ``name`` begins, remembered unless too many are (a scan with random headers)."""
    prefix = b""
    if name.startswith(b"HTTP_"):
        if _TOKEN.fullmatch(name, 5) is None:
            raise BadRequest(f"{quoted(name)} is no name of a header")
        prefix = header_line(name)
    if len(_names) < _MAX_NAMES and len(name) <= _MAX_NAME:
        _names[name] = prefix
    return prefix


def header_line(name: bytes) -> bytes:
    """How the line of the var ``name`` (HTTP_*) begins; empty for what makes no line of its own."""
    header = name[5:].replace(b"_", b"-")
    return b"" if header.upper() in _OURS else header.title() + b": "


def _repeat(values: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name == b"CONTENT_LENGTH" and value != values[name]:
        raise BadRequest("two CONTENT_LENGTH that differ")
    values[name] = value


def _target(values: dict[bytes, bytes]) -> bytes:
    target = values.get(b"REQUEST_URI", b"")
    if not target:
        # RFC 3986's path; a question mark in it would begin the query.
        target = quote_from_bytes(values.get(b"PATH_INFO", b""), "/:@!$&'()*+,;=~").encode() or b"/"
        if values.get(b"QUERY_STRING"):
            target += b"?" + values[b"QUERY_STRING"]
    target = ascii_target(target)
    if _TARGET.fullmatch(target) is None:
        raise BadRequest(f"REQUEST_URI {quoted(target)}: a path expected")
    return target


def ascii_target(target: bytes) -> bytes:
    """``target`` with bytes above 127 percent-encoded."""
    if target.isascii():
        return target
    return b"".join(b"%%%02X" % byte if byte > 127 else b"%c" % byte for byte in target)


def _length(values: dict[bytes, bytes]) -> int:
    length = values.get(b"CONTENT_LENGTH", b"")
    if length:
        if not is_length(length):
            raise BadRequest(f"CONTENT_LENGTH {quoted(length, 40)}: a number expected")
        return int(length)
    coding = values.get(b"HTTP_TRANSFER_ENCODING", b"")
    if not coding:
        return 0
    if coding.strip(b" \t").lower() != b"chunked":
        raise BadRequest(f"HTTP_TRANSFER_ENCODING {quoted(coding, 40)}: chunked, or a CONTENT_LENGTH expected")
    return CHUNKED


def _forwarded(values: dict[bytes, bytes], host: bytes, lines: list[bytes]) -> None:
    get = values.get
    hops = get(b"HTTP_X_FORWARDED_FOR", b"").strip(b" \t,")
    if b"FASTROUTE_FORWARDED" in values:
        scheme, host, port = (get(b"HTTP_X_FORWARDED_" + name, b"") for name in (b"PROTO", b"HOST", b"PORT"))
    else:
        client = get(b"REMOTE_ADDR", b"")
        # nginx says "unix:" of a client on a unix socket.
        if client and client != b"unix:" and hops.rpartition(b",")[2].strip(b" \t") != client:
            hops = hops + b", " + client if hops else client
        scheme = get(b"REQUEST_SCHEME") or (b"https" if get(b"HTTPS", b"").lower() in (b"on", b"1") else b"http")
        # What the client wrote is its own port; that of the server may be another behind a published port.
        named = _PORT.search(host)
        port = named[1] if named else get(b"SERVER_PORT", b"")
    if hops:
        lines.append(b"X-Forwarded-For: " + hops)
    if scheme:
        lines.append(b"X-Forwarded-Proto: " + scheme)
    if host:
        lines.append(b"X-Forwarded-Host: " + host)
    if port:
        lines.append(b"X-Forwarded-Port: " + port)


def upgrade_protocol(upgrade: bytes, connection: bytes) -> bytes:
    """The protocol to ask for, by these two headers; empty for none.  Never HTTP/2: it would pass by all that is
    checked here."""
    protocol = upgrade.strip(b" \t")
    if not protocol:
        return b""
    options = [option.strip(b" \t").lower() for option in connection.split(b",")]
    if b"upgrade" not in options or _UPGRADE.fullmatch(protocol) is None:
        return b""
    return b"" if protocol.lower().startswith((b"h2", b"http")) else protocol
