"""One request as one line of the access log, as text or as JSON.  Pure.

* Text is nginx's ``combined`` and more behind it, as ``name=value``; a field nobody knows is ``-``.
* Nothing in a value can end a line, a quoted field or (outside quotes) a field: what could is written as ``\\xHH``.
* A line has at most ``MAX_LINE`` bytes, what a pipe takes whole: long values are cut.
* The common request costs one pass: filled in, then proven harmless by what is left without harmless characters.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from fastroute.router.relay.logged import Logged, Shown
from fastroute.router.relay.sides import LINGER

MAX_LINE: Final = 4096

#: How much of each var (logged.Shown) at most, and which of them stand in quotes in text, where they may hold blanks.
_CUTS: Final = (64, 64, 32, 1800, 32, 500, 500, 128)
_IN_QUOTES: Final = (False, False, True, True, True, True, True, False)
_MAX_NAME: Final = 255

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

#: A number, as CPython looks for those five times as fast as for a byte in bytes.
_BLANK: Final = 32

_UNQUOTABLE: Final = re.compile(rb'[^ -~]|["\\]')
_SPECIAL: Final = re.compile(rb'[^!-~]|["\\]')

_STATUS_HEADER: Final = re.compile(rb"(?:\A|\n)status:[ \t]*(\d{3})\b", re.IGNORECASE)
_LOCATION_HEADER: Final = re.compile(rb"(?:\A|\n)location:", re.IGNORECASE)
_HEADER: Final = re.compile(rb"[!-9;-~]+:")


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
    shown, node = one.shown, _node(one)
    line = _filled(_TEXT, one, stamp, shown, one.asked, node, b"-", b"-")
    if (
        line.translate(None, _SAFE) == _TEXT_FRAME
        and _BLANK not in shown[0]
        and _BLANK not in shown[1]
        and _BLANK not in shown[7]
        and _BLANK not in one.asked
        and len(line) <= MAX_LINE
    ):
        return line
    escaped = [
        _escaped(value, _UNQUOTABLE if in_quotes else _SPECIAL, cut)
        for value, in_quotes, cut in zip(shown, _IN_QUOTES, _CUTS, strict=True)
    ]
    key, node = _escaped(one.asked, _SPECIAL, _MAX_NAME), _escaped(node, _SPECIAL, _MAX_NAME)
    return _filled(_TEXT, one, stamp, _shown(escaped), key, node, b"-", b"-")


def json_line(one: Logged, stamp: bytes) -> bytes:
    """The same as one object; ``stamp`` in RFC 3339.  Strings are empty and numbers null where nothing is known."""
    node = _node(one)
    line = _filled(_JSON, one, stamp, one.shown, one.asked, node, b"", b"null")
    if line.translate(None, _SAFE) == _JSON_FRAME and len(line) <= MAX_LINE:
        return line
    escaped = [_json_escaped(value, cut) for value, cut in zip(one.shown, _CUTS, strict=True)]
    key, node = _json_escaped(one.asked, _MAX_NAME), _json_escaped(node, _MAX_NAME)
    return _filled(_JSON, one, stamp, _shown(escaped), key, node, b"", b"null")


def _shown(values: list[bytes]) -> Shown:
    client, user, method, uri, protocol, referer, agent, number = values
    return client, user, method, uri, protocol, referer, agent, number


def _filled(form: bytes, one: Logged, stamp: bytes, shown: Shown, key: bytes, node: bytes,
            none: bytes, null: bytes) -> bytes:  # fmt: skip
    connect: Any = one.connect_time * 1000
    answer: Any = one.answer_time * 1000
    total: Any = (one.seen - one.began) * 1000
    if answer < 0:
        form = form.replace(b"%.1f", b"%b")
        connect, answer, total = b"%.1f" % connect if connect >= 0 else null, null, b"%.1f" % total
    client, user, method, uri, protocol, referer, agent, number = shown
    return form % (
        client or none, user or none, stamp, method or none, uri or none, protocol or none, one.status or null, one.tx,
        referer or none, agent or none, key or none, node or none, connect, answer, total, one.rx,
        one.attempts + one.again + (one.connect_time >= 0), one.fault.encode() if one.fault else none, number or none,
    )  # fmt: skip


def _node(one: Logged) -> bytes:
    return b"" if one.node is None else one.node.address.encode()


def _escaped(value: bytes, special: re.Pattern[bytes], cut: int) -> bytes:
    return special.sub(lambda found: b"\\x%02X" % found[0][0], value[:cut])[:cut]


def _json_escaped(value: bytes, cut: int) -> bytes:
    text = quoted(value[:cut].decode("latin-1"))[1:-1]
    return (text if len(text) <= cut else quoted(value[: cut // 6].decode("latin-1"))[1:-1]).encode()
