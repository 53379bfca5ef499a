"""One request as one line of the access log, as text or as JSON.  Pure.

* Text is nginx's ``combined`` and more behind it, as ``name=value``; a field nobody knows is ``-``.
* Nothing in a value can end a line, a quoted field or (outside quotes) a field: what could is written as ``\\xHH``.
* A line has at most ``MAX_LINE`` bytes, what a pipe takes whole: long values are cut.
* The vars are searched, not walked (half the cost).  A value can only pass for a var if it holds a zero byte, which
  nginx lets through nowhere, and who writes packets by hand can write any var anyhow.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Final

from fastroute.router.relay.replies import STATUS
from fastroute.router.relay.sides import LINGER
from fastroute.router.wire import HEADER_SIZE

if TYPE_CHECKING:
    from fastroute.router.relay.sides import Sides

MAX_LINE: Final = 4096

#: The vars that are shown, and how much of each at most.
_VARS: Final = (
    (b"REMOTE_ADDR", 64), (b"REMOTE_USER", 64), (b"HTTP_X_REQUEST_ID", 128), (b"REQUEST_METHOD", 32),
    (b"REQUEST_URI", 1800), (b"SERVER_PROTOCOL", 32), (b"HTTP_REFERER", 500), (b"HTTP_USER_AGENT", 500),
)  # fmt: skip
_NAMES: Final = tuple(b"%c\0%b" % (len(name), name) for name, _ in _VARS)
_CUTS: Final = (*(cut for _, cut in _VARS), 255, 255)
#: Values of this many bytes in all stay below MAX_LINE: where nothing is escaped, and however JSON escapes them.
_SHORT, _SHORT_JSON = 3000, 550

_QUOTABLE: Final = bytes(code for code in range(32, 127) if code not in b'"\\')
_PLAIN: Final = _QUOTABLE.replace(b" ", b"")
_UNQUOTABLE: Final = re.compile(rb'[^ -~]|["\\]')
_SPECIAL: Final = re.compile(rb'[^!-~]|["\\]')

_STATUS_HEADER: Final = re.compile(rb"(?:\A|\n)status:[ \t]*(\d{3})\b", re.IGNORECASE)
_LOCATION_HEADER: Final = re.compile(rb"(?:\A|\n)location:", re.IGNORECASE)
_HEADER: Final = re.compile(rb"[!-9;-~]+:")

Values = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]


def status_of(answer: bytes) -> str:
    """The status that an answer begins with, as nginx reads it: status line, ``Status:`` header, else 200 or 302."""
    if answer.startswith(b"HTTP/"):
        code = answer[9:12]
        return code.decode() if code.isdigit() else ""
    head = answer.partition(b"\r\n\r\n")[0]
    if found := _STATUS_HEADER.search(head):
        return found[1].decode()
    if not _HEADER.match(head):
        return ""
    return "302" if _LOCATION_HEADER.search(head) else "200"


def fault_of(one: Sides) -> str:
    """Why the request did not get its whole answer, empty if it did.  Asked before anything is closed."""
    if one.status in STATUS:
        return one.status
    if one.fault:
        return one.fault
    if one.state == LINGER:
        return "client-gone" if one.down else ""
    return "" if one.worker_eof and one.client_eof else "client-gone"


def text_line(one: Sides, now: float, stamp: str) -> str:
    """The line; ``stamp`` is the local time as nginx writes it, ``now`` the loop's."""
    values = _values(one)
    inside, outside = values[3:8], (*values[:3], *values[8:])
    if (
        b"".join(inside).translate(None, _QUOTABLE)
        or b"".join(outside).translate(None, _PLAIN)
        or sum(map(len, values)) > _SHORT
    ):
        values = _escaped(values)
    client, user, request_id, method, uri, protocol, referer, agent, key, node = [
        value.decode("ascii") or "-" for value in values
    ]
    connect = f"{one.connect_time * 1000:.1f}" if one.connect_time >= 0 else "-"
    answer = f"{one.answer_time * 1000:.1f}" if one.answer_time >= 0 else "-"
    status, fault = _status(one)
    return (
        f'{client} - {user} [{stamp}] "{method} {uri} {protocol}" {status or "-"} {one.tx} "{referer}" "{agent}"'
        f" key={key} node={node} connect={connect} answer={answer} total={_total(one, now) * 1000:.1f}"
        f" received={one.rx} tries={_tries(one)} error={fault or '-'} id={request_id}\n"
    )


def json_line(one: Sides, now: float, stamp: str) -> str:
    """The same as one object; ``stamp`` in RFC 3339.  Strings are empty, numbers and error null when unknown."""
    values = _values(one)
    if sum(map(len, values)) > _SHORT_JSON:
        values = tuple(_cut(value, cut) for value, cut in zip(values, _CUTS, strict=True))  # type: ignore[assignment]
    client, user, request_id, method, uri, protocol, referer, agent, key, node = [
        quoted(value.decode("latin-1")) for value in values
    ]
    connect = f"{one.connect_time * 1000:.1f}" if one.connect_time >= 0 else "null"
    answer = f"{one.answer_time * 1000:.1f}" if one.answer_time >= 0 else "null"
    status, fault = _status(one)
    error = f'"{fault}"' if fault else "null"
    return (
        f'{{"ts":"{stamp}","client":{client},"user":{user},"method":{method},"uri":{uri},"protocol":{protocol},'
        f'"status":{status or "null"},"bytes":{one.tx},"referer":{referer},"agent":{agent},"key":{key},"node":{node},'
        f'"connect_ms":{connect},"answer_ms":{answer},"total_ms":{_total(one, now) * 1000:.1f},'
        f'"received":{one.rx},"tries":{_tries(one)},"error":{error},"request_id":{request_id}}}\n'
    )


def _values(one: Sides) -> Values:
    packet, end, found = one.packet, one.end, []
    for name in _NAMES:
        at = packet.find(name, HEADER_SIZE, end)
        if at < 0:
            found.append(b"")
        else:
            at += len(name)
            found.append(packet[at + 2 : min(at + 2 + (packet[at] | packet[at + 1] << 8), end)])
    node = one.node.address.encode("latin-1", "replace") if one.node is not None else b""
    return (*found, one.asked, node)  # type: ignore[return-value]  # one for each of _NAMES


def _escaped(values: Values) -> Values:
    made = []
    for number, (value, cut) in enumerate(zip(values, _CUTS, strict=True)):
        special = _UNQUOTABLE if 3 <= number < 8 else _SPECIAL
        made.append(special.sub(lambda found: b"\\x%02X" % found[0][0], value[:cut])[:cut])
    return tuple(made)  # type: ignore[return-value]


def _cut(value: bytes, cut: int) -> bytes:
    """Short enough that its JSON form has at most ``cut`` bytes and the quotes."""
    value = value[:cut]
    return value if len(quoted(value.decode("latin-1"))) <= cut + 2 else value[: cut // 6]


def _status(one: Sides) -> tuple[str, str]:
    """The status that went to the client, and what was wrong."""
    own = STATUS.get(one.status)
    return (own[:3] if own else one.status), fault_of(one)


def _total(one: Sides, now: float) -> float:
    """Until the last byte was moved; until now for who left before."""
    return (one.seen if one.state == LINGER else now) - one.began


def _tries(one: Sides) -> int:
    """Connections begun: those that failed, the one given up because the worker closed, the one that counted."""
    return one.attempts + one.again + (one.connect_time >= 0)
