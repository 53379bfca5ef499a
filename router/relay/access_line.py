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

from fastroute.router.relay.vars import LogVars

MAX_LINE: Final = 4096

#: How much of each var (vars.LogVars, but for the last) at most, and which of them stand in quotes in text, where they
#: may hold blanks.
_CUTS: Final = (64, 64, 32, 1800, 32, 500, 500, 128)
_IN_QUOTES: Final = (False, False, True, True, True, True, True, False)
_MAX_NAME: Final = 255

#: What X-Request-Start says, as Heroku, nginx (``t=${msec}``) and others write it.
_REQUEST_START: Final = re.compile(rb"(?:t=)?([0-9]{1,20}(?:\.[0-9]{1,9})?)")
#: A number above this is no time in seconds, but in milliseconds, microseconds or nanoseconds.
_MAX_TIMESTAMP: Final = 1e11
#: Seconds that a request may have been on its way here; more is a mistake of somebody's.
MAX_QUEUE_TIME: Final = 3600.0
#: Seconds by which the clock of whoever wrote X-Request-Start may be ahead of ours.
MAX_CLOCK_SKEW: Final = 1.0

_TEXT: Final = (
    b'%b - %b [%b] "%b %b %b" %b %d "%b" "%b" key=%b node=%b connect=%.1f answer=%.1f total=%.1f received=%d tries=%d'
    b" error=%b id=%b queue=%b waited=%b\n"
)
_JSON: Final = (
    b'{"client":"%b","user":"%b","ts":"%b","method":"%b","uri":"%b","protocol":"%b","status":%b,"bytes":%d,'
    b'"referer":"%b","agent":"%b","key":"%b","node":"%b","connect_ms":%.1f,"answer_ms":%.1f,"total_ms":%.1f,'
    b'"received":%d,"tries":%d,"error":"%b","request_id":"%b","queue_ms":%b,"waited_ms":%b}\n'
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


class AccessRecord:
    """What a line says of one request that has ended."""

    __slots__ = ("answer_time", "connect_time", "ended", "fault", "key", "log_vars", "node", "received", "sent",
                 "sent_at", "status", "total_time", "tries", "waited")  # fmt: skip

    def __init__(self, log_vars: LogVars, key: bytes, node: str, status: bytes, fault: str, sent: int, received: int,
                 tries: int, connect_time: float, answer_time: float, ended: float,
                 total_time: float, sent_at: float, waited: float) -> None:  # fmt: skip
        self.log_vars = log_vars
        self.key = key
        #: The address of the node that was tried last; empty: none was.
        self.node = node
        #: Three digits that the client got, and why they are not the worker's, or the answer is not whole.
        self.status = status
        self.fault = fault
        #: Bytes of the answer, and of the request as the worker got it.
        self.sent = sent
        self.received = received
        #: Nodes that the request was sent to, those that could not be reached included.
        self.tries = tries
        #: Seconds that it waited for a node; negative when it did not have to.
        self.waited = waited
        #: Seconds, negative when it did not come to that.
        self.connect_time = connect_time
        self.answer_time = answer_time
        #: Monotonic time of its end, and seconds from accept until then.
        self.ended = ended
        self.total_time = total_time
        #: Monotonic time at which the last node took it; only if it came to that (``connect_time``).
        self.sent_at = sent_at


def status_of(answer: bytes) -> bytes:
    """The status that an answer begins with, as nginx reads it: status line, ``Status:`` header, else 200 or 302."""
    if answer.startswith(b"HTTP/"):
        code = answer[9:12]
        return code if code.isdigit() else b""
    head = answer.partition(b"\r\n\r\n")[0]
    if match := _STATUS_HEADER.search(head):
        return match[1]
    if not _HEADER.match(head):
        return b""
    return b"302" if _LOCATION_HEADER.search(head) else b"200"


def queue_time(record: AccessRecord, epoch: float) -> float:
    """Seconds from X-Request-Start until a node took the request; -1.0 where the header makes no sense, or none did.

    ``epoch``: what monotonic time is short of the seconds since the epoch.
    """
    match = _REQUEST_START.fullmatch(record.log_vars[8]) if record.connect_time >= 0 else None
    if match is None:
        return -1.0
    start = float(match[1])
    while start > _MAX_TIMESTAMP:
        start /= 1000
    seconds = record.sent_at + epoch - start
    return max(seconds, 0.0) if -MAX_CLOCK_SKEW <= seconds <= MAX_QUEUE_TIME else -1.0


def text_line(record: AccessRecord, stamp: bytes, queue: float) -> bytes:
    """The line as text.  ``stamp`` is the local time as nginx writes it, ``queue`` is :func:`queue_time`."""
    log_vars, node = record.log_vars, record.node.encode()
    line = _filled(_TEXT, record, stamp, queue, log_vars, record.key, node, b"-", b"-")
    if (
        line.translate(None, _SAFE) == _TEXT_FRAME
        and _BLANK not in log_vars[0]
        and _BLANK not in log_vars[1]
        and _BLANK not in log_vars[7]
        and _BLANK not in record.key
        and len(line) <= MAX_LINE
    ):
        return line
    escaped = [
        _escaped(value, _UNQUOTABLE if in_quotes else _SPECIAL, cut)
        for value, in_quotes, cut in zip(log_vars[:8], _IN_QUOTES, _CUTS, strict=True)
    ]
    key, node = _escaped(record.key, _SPECIAL, _MAX_NAME), _escaped(node, _SPECIAL, _MAX_NAME)
    return _filled(_TEXT, record, stamp, queue, _log_vars(escaped), key, node, b"-", b"-")


def json_line(record: AccessRecord, stamp: bytes, queue: float) -> bytes:
    """The same as one object; ``stamp`` in RFC 3339.  Strings are empty and numbers null where nothing is known."""
    node = record.node.encode()
    line = _filled(_JSON, record, stamp, queue, record.log_vars, record.key, node, b"", b"null")
    if line.translate(None, _SAFE) == _JSON_FRAME and len(line) <= MAX_LINE:
        return line
    escaped = [_json_escaped(value, cut) for value, cut in zip(record.log_vars[:8], _CUTS, strict=True)]
    key, node = _json_escaped(record.key, _MAX_NAME), _json_escaped(node, _MAX_NAME)
    return _filled(_JSON, record, stamp, queue, _log_vars(escaped), key, node, b"", b"null")


def _log_vars(values: list[bytes]) -> LogVars:
    client, user, method, uri, protocol, referer, agent, number = values
    return client, user, method, uri, protocol, referer, agent, number, b""


def _filled(form: bytes, record: AccessRecord, stamp: bytes, queue: float, log_vars: LogVars, key: bytes, node: bytes,
            none: bytes, null: bytes) -> bytes:  # fmt: skip
    connect: Any = record.connect_time * 1000
    answer: Any = record.answer_time * 1000
    total: Any = record.total_time * 1000
    if answer < 0:
        form = form.replace(b"%.1f", b"%b")
        connect, answer, total = b"%.1f" % connect if connect >= 0 else null, null, b"%.1f" % total
    client, user, method, uri, protocol, referer, agent, number, _ = log_vars
    return form % (
        client or none, user or none, stamp, method or none, uri or none, protocol or none, record.status or null,
        record.sent, referer or none, agent or none, key or none, node or none, connect, answer, total,
        record.received, record.tries, record.fault.encode() if record.fault else none, number or none,
        b"%.1f" % (queue * 1000) if queue >= 0 else null,
        b"%.1f" % (record.waited * 1000) if record.waited >= 0 else null,
    )  # fmt: skip


def _escaped(value: bytes, special: re.Pattern[bytes], cut: int) -> bytes:
    return special.sub(lambda match: b"\\x%02X" % match[0][0], value[:cut])[:cut]


def _json_escaped(value: bytes, cut: int) -> bytes:
    text = quoted(value[:cut].decode("latin-1"))[1:-1]
    return (text if len(text) <= cut else quoted(value[: cut // 6].decode("latin-1"))[1:-1]).encode()
