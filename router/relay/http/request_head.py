"""The head of a client's HTTP/1.1 request: what it says, or why it is refused.  Pure.

What could be read in two ways is refused, so that whoever is in front of this router, and the worker behind it, see the
same requests on a connection as it does: one Host, one length, lines that end with CR LF, names without blanks behind
them, no folded lines.  Every head that is accepted, h11 reads the same way (tests/fuzz/http.py).

* An absolute target names the host, whatever the Host header says (RFC 9112, 3.2.2).
* Headers whose names have anything but letters, digits and dashes are left out, as nginx does: ``X_Forwarded_For`` and
  ``X-Forwarded-For`` would be the same var.
* Headers that concern one connection only are left out, and so is ``Proxy`` (httpoxy).  ``Upgrade`` stays where the
  client asks for another protocol that passes through here.
* Repeated headers are joined, with a comma (``Cookie``: a semicolon): of repeated vars a worker sees the last only.
* The cost is one pass over the bytes.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.content_length import is_length
from fastroute.router.relay.http.control_bytes import has_control_bytes
from fastroute.router.relay.http.head import HOST_PATTERN, upgrade_protocol
from fastroute.router.relay.http.header_names import (
    HOST,
    MAX_REMEMBERED,
    NAMES,
    ORIGIN,
    PASSED,
    READ,
    HeaderLine,
    HeaderName,
)
from fastroute.router.relay.quoting import quoted

#: Bytes of a head.
MAX_REQUEST_HEAD: Final = 65_536

_REQUEST: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/1\.([01])\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+\r\n"
)
_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+")
_ABSOLUTE: Final = re.compile(rb"(?:http|https)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BLANKS: Final = b" \t"
#: How TLS begins.
_TLS: Final = b"\x16"
#: As numbers: CPython looks for a byte as a number at a tenth of the cost of ``find``, and for ``bytes`` it makes and
#: drops an exception, as it tries them as a number first.  For several bytes that are seldom there, ``partition`` costs
#: half of ``find``: it makes nothing where they are not, and has a single argument.
_SLASH: Final = ord("/")
_TAB: Final = ord("\t")
_NUMBER_SIGN: Final = ord("#")
_LINE_END: Final = b"\r\n"
#: Methods that most requests have, most of them the first ones; others are looked at.
_METHODS: Final = (b"GET", b"POST", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")


class BadHead(ValueError):
    """These bytes make no request.  ``kind`` as in replies.py; the text says why, for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class RequestHead:
    """What a head says."""

    __slots__ = ("chunked", "content_length", "content_type", "expects", "forwarded", "headers", "host", "http11",
                 "keep", "length", "method", "target", "upgrade")  # fmt: skip

    def __init__(self, method: bytes, target: bytes, http11: bool) -> None:
        self.method = method
        #: A path with its query, or ``*``.
        self.target = target
        #: Host and port, as the client wrote them.
        self.host = b""
        #: HTTP/1.1, and not 1.0.
        self.http11 = http11
        #: The client waits for the answer, and may send another request then.
        self.keep = http11
        #: It sends its body once it is told to go on (100).
        self.expects = False
        #: The body comes in chunks; else it has ``length`` bytes.
        self.chunked = False
        self.length = 0
        #: The length as it was written; empty: there was none.
        self.content_length = b""
        self.content_type = b""
        #: The protocol that the client wants to go on with; empty: this one.
        self.upgrade = b""
        #: Headers that name the origin of the request, by their names in lower case.
        self.forwarded: dict[bytes, bytes] = {}
        #: All others.
        self.headers: dict[HeaderName, HeaderLine] = {}


def read_request_head(head: bytes, known_host: bytes = b"") -> RequestHead:
    """What ``head`` says: the bytes from the request line to the empty line.  Raises ``BadHead``.

    ``known_host`` is one that was found good before.
    """
    lines = head.split(_LINE_END)
    words = lines[0].split(b" ")
    if (
        len(lines) < 3
        or len(words) != 3
        or words[2] not in _VERSIONS
        or (words[0] not in _METHODS and _TOKEN.fullmatch(words[0]) is None)
        or not words[1]
        or _TAB in words[1]
        or lines[-1] + lines[-2]
    ):
        raise BadHead("bad-request", head_problem(head))
    request = RequestHead(words[0], words[1], words[2] == _VERSIONS[0])
    hosts, own, unchecked = _read_lines(request, lines)
    if has_control_bytes(unchecked):
        raise BadHead("bad-request", head_problem(head))
    _read_host(request, hosts, known_host)
    if own:
        _read_framing(request, own)
        _read_connection(request, own)
    return request


def _read_lines(request: RequestHead, lines: list[bytes]) -> tuple[list[bytes], dict[bytes, list[bytes]], bytes]:
    """Read the headers in ``lines``.

    Returns hosts, the values of other headers that are read by us, and all that may have control characters in it.
    """
    if NAMES.size > MAX_REMEMBERED:
        NAMES.forget()
    remembered, headers, forwarded = NAMES.lines, request.headers, request.forwarded
    hosts: list[bytes] = []
    own: dict[bytes, list[bytes]] = {}
    unchecked = [lines[0]]
    passed = 0
    for line in lines[1:-2]:
        known = remembered.get(line)
        if known is None:
            known = _read_line(line)
            unchecked.append(line)
        header, kind = known.header, known.header.kind
        if kind == PASSED:
            headers[header] = known
            passed += 1
        elif kind == ORIGIN:
            forwarded[header.lower] = known.value
            passed += 1
        elif kind == HOST:
            hosts.append(known.value)
        elif kind == READ:
            if header.lower in own:
                own[header.lower].append(known.value)
            else:
                own[header.lower] = [known.value]
    if len(headers) + len(forwarded) != passed:
        _join_repeated(request, lines)
    return hosts, own, b"".join(unchecked)


def _read_line(line: bytes) -> HeaderLine:
    """Take apart a line that is not remembered, and remember it if others may say the same."""
    name, colon, value = line.partition(b":")
    header = NAMES.known.get(name)
    if header is None:
        header = NAMES.learn(name)
    if header is None or not colon:
        raise BadHead("bad-request", f"{quoted(line)} is no header line")
    # All that this strips besides blanks may not stand in a head, which is looked for later.
    known = HeaderLine(header, value.strip())
    if header.repeats and not has_control_bytes(line):
        NAMES.remember(line, known)
    return known


def _join_repeated(request: RequestHead, lines: list[bytes]) -> None:
    """Some of the headers came several times."""
    headers, forwarded = request.headers, request.forwarded
    values: dict[HeaderName, list[bytes]] = {}
    for line in lines[1:-2]:
        name, _, value = line.partition(b":")
        values.setdefault(NAMES.known[name], []).append(value.strip(_BLANKS))
    for header, parts in values.items():
        if len(parts) > 1 and header in headers:
            headers[header] = HeaderLine(header, (b"; " if header.lower == b"cookie" else b", ").join(parts))
        elif len(parts) > 1 and header.lower in forwarded:
            forwarded[header.lower] = b", ".join(parts)


def _read_host(request: RequestHead, hosts: list[bytes], known_host: bytes) -> None:
    if len(hosts) > 1:
        raise BadHead("bad-request", "two Host headers")
    if request.http11 and not hosts:
        raise BadHead("bad-request", "no Host header")
    host = hosts[0] if hosts else b""
    target = request.target
    if target[0] != _SLASH and target != b"*":
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise BadHead("bad-request", f"the target {quoted(target)}: a path expected")
        host, target = match[1], match[2]
        if not target.startswith(b"/"):
            target = b"/" + target
        request.target = target
    if _NUMBER_SIGN in target or (target == b"*" and request.method != b"OPTIONS"):
        raise BadHead("bad-request", f"the target {quoted(target)}: a path expected")
    if request.method == b"CONNECT":
        raise BadHead("bad-request", "CONNECT: this is no proxy to other hosts")
    if not host:
        raise BadHead("bad-request", "no host: neither the target nor a Host header names one")
    if host != known_host and HOST_PATTERN.fullmatch(host) is None:
        raise BadHead("bad-request", f"{quoted(host)} is no host")
    request.host = host


def _read_framing(request: RequestHead, own: dict[bytes, list[bytes]]) -> None:
    """RFC 9112, 6.3, without its leniency."""
    lengths, codings = own.get(b"content-length", []), own.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise BadHead("bad-request", "the length of the body is said more than once")
    if codings:
        if codings[0].lower() != b"chunked" or not request.http11:
            raise BadHead("bad-request", f"Transfer-Encoding {quoted(codings[0], 40)}: chunked, and HTTP/1.1, expected")
        request.chunked = True
    elif lengths:
        if not is_length(lengths[0]):
            raise BadHead("bad-request", f"Content-Length {quoted(lengths[0], 40)}: a number expected")
        request.content_length = lengths[0]
        request.length = int(lengths[0])
    types = own.get(b"content-type", [])
    if len(types) > 1:
        raise BadHead("bad-request", "two Content-Type headers")
    if types:
        request.content_type = types[0]


def _read_connection(request: RequestHead, own: dict[bytes, list[bytes]]) -> None:
    has_body = request.chunked or request.length > 0
    connection = b",".join(own.get(b"connection", []))
    if connection:
        options = [option.strip(_BLANKS) for option in connection.lower().split(b",")]
        if b"close" in options:
            request.keep = False
        if request.http11 and not has_body:
            request.upgrade = upgrade_protocol(b", ".join(own.get(b"upgrade", [])), connection)
    if has_body and request.http11:
        request.expects = any(value.lower() == b"100-continue" for value in own.get(b"expect", []))


def head_problem(head: bytes) -> str:
    """Why ``head`` is none, for people; empty when it is one."""
    if _REQUEST.fullmatch(head) is not None:
        return ""
    if head.startswith(_TLS):
        return "this may be TLS, and HTTP/1.1 is expected here"
    if head.startswith(b"\0"):
        return "this may be a uwsgi packet, and HTTP/1.1 is expected here (nginx: proxy_pass, not uwsgi_pass)"
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if first == b"PRI * HTTP/2.0":
        return "this is HTTP/2, and HTTP/1.1 is expected here"
    if _REQUEST.fullmatch(first + b"\r\n\r\n") is None:
        return f"{quoted(first)} is no request line of HTTP/1.1 or 1.0"
    for line in lines:
        if _LINE.fullmatch(line) is None:
            return f"{quoted(line)} is no header line"
    return "no head of a request"
