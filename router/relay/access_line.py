"""One request as one line of the access log, as text or as JSON.  Pure.

* Text is nginx's ``combined`` and more behind it, as ``name=value``; a field nobody knows is ``-``.
* Nothing in a value can end a line, a quoted field or (outside quotes) a field: what could is written as ``\\xHH``.
* A line has at most ``MAX_LINE`` bytes, what a pipe takes whole: long values are cut.
* The common request costs one pass: filled in, then proven harmless by what is left without harmless characters.
* The vars are walked once, for the key and for what is shown (:func:`key_and_vars`); the packet need not be kept.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Final

from fastroute.router.relay.sides import LINGER
from fastroute.router.wire import HEADER_SIZE

if TYPE_CHECKING:
    from fastroute.router.relay.sides import Sides

MAX_LINE: Final = 4096

#: The vars that are shown, and how much of each at most; then the key and the node.
_VARS: Final = (
    (b"REMOTE_ADDR", 64), (b"REMOTE_USER", 64), (b"REQUEST_METHOD", 32), (b"REQUEST_URI", 1800),
    (b"SERVER_PROTOCOL", 32), (b"HTTP_REFERER", 500), (b"HTTP_USER_AGENT", 500), (b"HTTP_X_REQUEST_ID", 128),
)  # fmt: skip
_NAMES: Final = tuple(name for name, _ in _VARS)
_KEYS: Final = (b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME")
_WANTED: Final = frozenset((*_NAMES, *_KEYS, b""))
_CUTS: Final = (*(cut for _, cut in _VARS), 255, 255)
_QUOTED: Final = (2, 3, 4, 5, 6)

_TEXT: Final = (
    b'%b - %b [%b] "%b %b %b" %b %d "%b" "%b" key=%b node=%b connect=%.1f answer=%.1f total=%.1f received=%d tries=%d'
    b" error=%b id=%b\n"
)
_JSON: Final = (
    b'{"client":"%b","user":"%b","ts":"%b","method":"%b","uri":"%b","protocol":"%b","status":%b,"bytes":%d,'
    b'"referer":"%b","agent":"%b","key":"%b","node":"%b","connect_ms":%.1f,"answer_ms":%.1f,"total_ms":%.1f,'
    b'"received":%d,"tries":%d,"error":"%b","request_id":"%b"}\n'
)
_SAFE: Final = bytes(code for code in range(32, 127) if code not in b'"\\')
#: What is left of a line without the safe characters, if no value holds any other.
_TEXT_FRAME: Final = _TEXT.translate(None, _SAFE)
_JSON_FRAME: Final = _JSON.translate(None, _SAFE)

_UNQUOTABLE: Final = re.compile(rb'[^ -~]|["\\]')
_SPECIAL: Final = re.compile(rb'[^!-~]|["\\]')

_STATUS_HEADER: Final = re.compile(rb"(?:\A|\n)status:[ \t]*(\d{3})\b", re.IGNORECASE)
_LOCATION_HEADER: Final = re.compile(rb"(?:\A|\n)location:", re.IGNORECASE)
_HEADER: Final = re.compile(rb"[!-9;-~]+:")

def key_and_vars(packet: bytes, end: int) -> tuple[bytes | None, dict[bytes, bytes]]:
    """What :func:`fastroute.router.key.requested_key` says, and the vars that a line may show; one walk for both."""
    found: dict[bytes, bytes] = {}
    at = HEADER_SIZE
    try:
        while at < end:
            name = at + 2
            at = name + (packet[at] | packet[at + 1] << 8)
            value = at + 2
            word = packet[name:at]
            at = value + (packet[at] | packet[at + 1] << 8)
            if word in _WANTED:
                found[word] = packet[value:at]
    except IndexError:
        return None, {}
    if at != end or b"" in found:
        return None, {}
    get = found.get
    return get(_KEYS[0]) or get(_KEYS[1]) or get(_KEYS[2]) or b"", found


def status_of(answer: bytes) -> bytes:
    """The status that an answer begins with, as nginx reads it: status line, ``Status:`` header, else 200 or 302."""
    if answer.startswith(b"HTTP/"):
        code = answer[9:12]
        return code if code.isdigit() else b""
    head = answer.partition(b"\r\n\r\n")[0]
    if found := _STATUS_HEADER.search(head):
        return found[1]
    if not _HEADER.match(head):
        return b""
    return b"302" if _LOCATION_HEADER.search(head) else b"200"


def text_line(one: Sides, now: float, stamp: bytes) -> bytes:
    """The line; ``stamp`` is the local time as nginx writes it, ``now`` the loop's."""
    values = _values(one, b"-")
    line = _filled(_TEXT, one, now, stamp, values, b"-")
    client, user, *_, request_id, key, node = values
    if (
        line.translate(None, _SAFE) != _TEXT_FRAME or len(line) > MAX_LINE
        or b" " in key or b" " in request_id or b" " in user or b" " in client or b" " in node
    ):  # fmt: skip
        return _filled(_TEXT, one, now, stamp, _escaped(values), b"-")
    return line


def json_line(one: Sides, now: float, stamp: bytes) -> bytes:
    """The same as one object; ``stamp`` in RFC 3339.  Strings are empty and numbers null where nothing is known."""
    values = _values(one, b"")
    line = _filled(_JSON, one, now, stamp, values, b"null")
    if line.translate(None, _SAFE) != _JSON_FRAME or len(line) > MAX_LINE:
        return _filled(_JSON, one, now, stamp, _json_escaped(values), b"null")
    return line


def _filled(form: bytes, one: Sides, now: float, stamp: bytes, values: list[bytes], none: bytes) -> bytes:
    nothing = b"-" if none == b"-" else b""
    client, user, method, uri, protocol, referer, agent, request_id, key, node = values
    fault = one.fault
    if not fault and (one.down if one.state == LINGER else not (one.worker_eof and one.client_eof)):
        fault = "client-gone"
    # Until the last byte was moved; until now for who left before.
    total = ((one.seen if one.state == LINGER else now) - one.began) * 1000
    tries = one.attempts + one.again + (one.connect_time >= 0)
    times: tuple[Any, ...] = (one.connect_time * 1000, one.answer_time * 1000, total)
    if one.answer_time < 0:
        form = form.replace(b"%.1f", b"%b")
        times = tuple(b"%.1f" % time if time >= 0 else none for time in times)
    values_of_line: tuple[Any, ...] = (
        client, user, stamp, method, uri, protocol, one.status or none, one.tx, referer, agent, key, node, *times,
        one.rx, tries, fault.encode() or nothing, request_id,
    )  # fmt: skip
    return form % values_of_line


def _values(one: Sides, none: bytes) -> list[bytes]:
    """In the order of ``_CUTS``; ``none`` for what the request does not have."""
    get = (one.shown or {}).get
    found = [get(name) or none for name in _NAMES]
    found.append(one.asked or none)
    found.append(one.node.address.encode("latin-1", "replace") if one.node is not None else none)
    return found


def _escaped(values: list[bytes]) -> list[bytes]:
    made = []
    for number, (value, cut) in enumerate(zip(values, _CUTS, strict=True)):
        special = _UNQUOTABLE if number in _QUOTED else _SPECIAL
        made.append(special.sub(lambda found: b"\\x%02X" % found[0][0], value[:cut])[:cut])
    return made


def _json_escaped(values: list[bytes]) -> list[bytes]:
    made = []
    for value, cut in zip(values, _CUTS, strict=True):
        text = quoted(value[:cut].decode("latin-1"))[1:-1]
        made.append((text if len(text) <= cut else quoted(value[: cut // 6].decode("latin-1"))[1:-1]).encode())
    return made
