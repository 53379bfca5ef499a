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
from typing import Any, Final, Protocol

from fastroute.router.relay.pool import Node
from fastroute.router.relay.sides import LINGER
from fastroute.router.wire import HEADER_SIZE

MAX_LINE: Final = 4096

#: The vars that are shown, and how much of each at most.
_CUTS: Final = {
    b"REMOTE_ADDR": 64, b"REMOTE_USER": 64, b"REQUEST_METHOD": 32, b"REQUEST_URI": 1800, b"SERVER_PROTOCOL": 32,
    b"HTTP_REFERER": 500, b"HTTP_USER_AGENT": 500, b"HTTP_X_REQUEST_ID": 128,
}  # fmt: skip
_MAX_NAME: Final = 255
#: What the walk looks for; copied, because a dict that grows costs more.
_ABSENT: Final = dict.fromkeys((*_CUTS, b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME"), b"")
#: In text these stand in quotes, and may hold blanks.
_QUOTED: Final = (b"REQUEST_METHOD", b"REQUEST_URI", b"SERVER_PROTOCOL", b"HTTP_REFERER", b"HTTP_USER_AGENT")

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
#: Blanks of a line of text behind its last quoted field.
_BLANKS_BEHIND: Final = _TEXT.count(b" ", _TEXT.rindex(b'"'))

_UNQUOTABLE: Final = re.compile(rb'[^ -~]|["\\]')
_SPECIAL: Final = re.compile(rb'[^!-~]|["\\]')

_STATUS_HEADER: Final = re.compile(rb"(?:\A|\n)status:[ \t]*(\d{3})\b", re.IGNORECASE)
_LOCATION_HEADER: Final = re.compile(rb"(?:\A|\n)location:", re.IGNORECASE)
_HEADER: Final = re.compile(rb"[!-9;-~]+:")


def key_and_vars(packet: bytes, end: int) -> tuple[bytes | None, dict[bytes, bytes]]:
    """What :func:`fastroute.router.key.requested_key` says, and the vars that a line may show; one walk for both."""
    found = _ABSENT.copy()
    at = HEADER_SIZE
    try:
        while at < end:
            name = at + 2
            at = name + (packet[at] | packet[at + 1] << 8)
            value = at + 2
            word = packet[name:at]
            at = value + (packet[at] | packet[at + 1] << 8)
            if word in found:
                found[word] = packet[value:at]
            elif not word:
                return None, {}
    except IndexError:
        return None, {}
    if at != end:
        return None, {}
    return found[b"UWSGI_FASTROUTER_KEY"] or found[b"HTTP_HOST"] or found[b"SERVER_NAME"], found


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


class Logged(Protocol):
    """What of a request goes into its line; sides.py says what each means."""

    shown: dict[bytes, bytes] | None
    asked: bytes
    status: bytes
    fault: str
    tx: int
    rx: int
    end: int
    attempts: int
    again: bool
    connect_time: float
    answer_time: float
    began: float
    seen: float
    state: int
    down: bytes
    worker_eof: bool
    client_eof: bool

    @property
    def node(self) -> Node | None:
        """The last one tried."""


def ended(one: Logged, now: float) -> None:
    """Settle when ``one`` ended and whether its client was there to the end; asked before anything of it is closed.

    Its time ends with the last byte that was moved, or now for who left before.
    """
    if one.state == LINGER:
        whole = not one.down
    else:
        one.seen = now
        whole = one.worker_eof and one.client_eof
    if not whole and not one.fault:
        one.fault = "client-gone"


def text_line(one: Logged, stamp: bytes) -> bytes:
    """The line of a request that :func:`ended`; ``stamp`` is the local time as nginx writes it."""
    shown = one.shown or {}
    line = _filled(_TEXT, one, stamp, shown, one.asked, _node(one), b"-", b"-")
    if (
        line.translate(None, _SAFE) == _TEXT_FRAME
        and b" " not in shown.get(b"REMOTE_ADDR", b"")
        and b" " not in shown.get(b"REMOTE_USER", b"")
        and line.count(b" ", line.rindex(b'"')) == _BLANKS_BEHIND
        and len(line) <= MAX_LINE
    ):
        return line
    shown = {
        name: _escaped(value, _UNQUOTABLE if name in _QUOTED else _SPECIAL, _CUTS.get(name, 0))
        for name, value in shown.items()
    }
    key, node = (_escaped(value, _SPECIAL, _MAX_NAME) for value in (one.asked, _node(one)))
    return _filled(_TEXT, one, stamp, shown, key, node, b"-", b"-")


def json_line(one: Logged, stamp: bytes) -> bytes:
    """The same as one object; ``stamp`` in RFC 3339.  Strings are empty and numbers null where nothing is known."""
    line = _filled(_JSON, one, stamp, one.shown or {}, one.asked, _node(one), b"", b"null")
    if line.translate(None, _SAFE) == _JSON_FRAME and len(line) <= MAX_LINE:
        return line
    shown = {name: _json_escaped(value, _CUTS.get(name, 0)) for name, value in (one.shown or {}).items()}
    key, node = (_json_escaped(value, _MAX_NAME) for value in (one.asked, _node(one)))
    return _filled(_JSON, one, stamp, shown, key, node, b"", b"null")


def _filled(form: bytes, one: Logged, stamp: bytes, shown: dict[bytes, bytes], key: bytes, node: bytes,
            none: bytes, null: bytes) -> bytes:  # fmt: skip
    connect: Any = one.connect_time * 1000
    answer: Any = one.answer_time * 1000
    total: Any = (one.seen - one.began) * 1000
    if answer < 0:
        form = form.replace(b"%.1f", b"%b")
        connect, answer, total = b"%.1f" % connect if connect >= 0 else null, null, b"%.1f" % total
    get = shown.get
    return form % (
        get(b"REMOTE_ADDR") or none, get(b"REMOTE_USER") or none, stamp, get(b"REQUEST_METHOD") or none,
        get(b"REQUEST_URI") or none, get(b"SERVER_PROTOCOL") or none, one.status or null, one.tx,
        get(b"HTTP_REFERER") or none, get(b"HTTP_USER_AGENT") or none, key or none, node or none,
        connect, answer, total, one.rx, one.attempts + one.again + (one.connect_time >= 0),
        one.fault.encode() if one.fault else none,
        get(b"HTTP_X_REQUEST_ID") or none,
    )  # fmt: skip


def _node(one: Logged) -> bytes:
    return b"" if one.node is None else one.node.address.encode()


def _escaped(value: bytes, special: re.Pattern[bytes], cut: int) -> bytes:
    return special.sub(lambda found: b"\\x%02X" % found[0][0], value[:cut])[:cut]


def _json_escaped(value: bytes, cut: int) -> bytes:
    text = quoted(value[:cut].decode("latin-1"))[1:-1]
    return (text if len(text) <= cut else quoted(value[: cut // 6].decode("latin-1"))[1:-1]).encode()
