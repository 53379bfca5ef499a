"""Readers: text as people write it in, a checked value out, or ``ValueError`` that says what was expected.  Pure.

One small function (or a maker of one) per kind of value, shared by the options of router and controller.  A message
shows the value with ``!r``, so that it stays one line whatever it holds.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from fastroute.router.config.configuration import did_you_mean, shown
from fastroute.router.protocol.address import Address, parse_address

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h)?")
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
#: A year: more is a slip of the keyboard, and this is far below what select and epoll accept.
_MAX_DURATION = 366 * 86_400.0
#: What every program of ours can log, and from which severity on.
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


def boolean(text: str) -> bool:
    """``true/yes/on/1`` or ``false/no/off/0``, in any case."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{shown(text)}: true or false expected (also yes, no, on, off, 1, 0)")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
            raise ValueError(f"{shown(text)}: a whole number from {low} to {high} expected")
        return int(text)

    return read


def duration(text: str) -> float:
    """Seconds, longer than nothing: ``2``, ``0.5``, ``500ms``, ``2s``, ``5m``, ``1h``."""
    seconds = duration_or_zero(text)
    if not seconds:
        raise ValueError(f"{shown(text)}: a time above 0 expected (seconds, or 500ms, 2s, 5m)")
    return seconds


def duration_or_zero(text: str) -> float:
    """Seconds, 0 allowed."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else -1.0
    if not 0 <= seconds <= _MAX_DURATION:
        raise ValueError(f"{shown(text)}: a time expected, in seconds or as 500ms, 2s, 5m (at most a year)")
    return seconds


def at_most(limit: float, examples: str) -> Callable[[str], float]:
    """A reader of seconds, 0 to ``limit``; ``examples`` show how to write them."""

    def read(text: str) -> float:
        match = _DURATION.fullmatch(text)
        seconds = float(match[1]) * _UNITS[match[2]] if match else -1.0
        if not 0 <= seconds <= limit:
            raise ValueError(f"{shown(text)}: a time from 0 to {limit:g} s expected (like {examples})")
        return seconds

    return read


def permissions(text: str) -> int:
    """Permission bits in octal: ``0660``, ``660``, ``0o660``."""
    if not re.fullmatch(r"(0o)?[0-7]{3,4}", text) or int(text.removeprefix("0o"), 8) > 0o777:
        raise ValueError(f"{shown(text)}: permissions in octal expected, from 0000 to 0777 (like 0660)")
    return int(text.removeprefix("0o"), 8)


def choice(names: Sequence[str]) -> Callable[[str], str]:
    """A reader that takes one of ``names``."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"{shown(text)}: one of {', '.join(names)} expected{did_you_mean(text, names)}")
        return text

    return read


def socket_address(text: str) -> Address:
    """An address to listen on."""
    return parse_address(text)


def node_address(text: str) -> Address:
    """An address to connect to: one with a host and a port, or a unix socket."""
    address = parse_address(text)
    if address.kind == "fd" or address.unspecified or (address.kind == "inet" and not address.port):
        raise ValueError(f"{shown(text)}: an address to connect to expected (host:port, [v6]:port or /path)")
    return address


def network(text: str) -> str:
    """A network in CIDR form, or one IP address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)}: a network expected (like 10.1.0.0/16, fd00::/8 or 10.1.2.3)") from None
    raise ValueError(f"{shown(text)} has bits set behind its prefix; did you mean {wider}?")


def path(text: str) -> str:
    """A file system path."""
    if not text or "\0" in text:
        raise ValueError(f"{shown(text)}: a path expected")
    return text


def http_url(text: str) -> str:
    """A URL of an HTTP server."""
    parsed = urlsplit(text) if text.isprintable() else urlsplit("")
    try:
        valid = parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        valid = False
    if not valid or " " in text:
        raise ValueError(f"{shown(text)}: a URL expected (like http://127.0.0.1:4318)")
    return text


def share(text: str) -> float:
    """A share, from 0 to 1."""
    if not re.fullmatch(r"0|1|[01]?\.\d{1,9}", text) or float(text) > 1:
        raise ValueError(f"{shown(text)}: a share from 0 to 1 expected (like 0.01)")
    return float(text)


def probe(text: str) -> str:
    """``tcp``, ``none`` or the path of a GET."""
    if text not in ("tcp", "none") and not re.fullmatch(r"/[!-~]{0,1000}", text):
        raise ValueError(f"{shown(text)}: tcp, none or a path like /health expected")
    return text
