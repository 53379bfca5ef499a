"""The settings of a node and of its key, and how each is written wherever somebody may say it.  Pure.

Two frozen types tell which is which:

* :class:`KeyOptions`: what all nodes of a key share (algorithm, wait, tls).  Each node may say it; of those that do,
  the oldest counts, and where none does, the router's own.  The default of such a field means "this node says nothing
  of it".
* :class:`NodeOptions`: what one node has for itself (weight, protocol, max), and what it says of its key.

One ``NodeOptions`` travels whole, from whoever writes it (a label, the static file, ``--node``, ``workers:``,
``announce``, ``subscribe2``) over the wire and control's table to the pools of the relays.  To add a setting: a field,
and its row in :data:`NODE_SETTINGS` or :data:`KEY_SETTINGS`; nothing between names them one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

from fastroute.router.config.configuration import did_you_mean, shown
from fastroute.router.config.option_types import at_most, choice, duration_or_zero, whole

MAX_WEIGHT = 65_535
MAX_LEVEL = 255
#: Seconds that a request may wait for a node, at most; no client waits longer.
MAX_WAIT = 600.0
#: Requests in flight that a node may be limited to, at most: more connections than one address can take.
MAX_IN_FLIGHT = 65_535
#: How a pool balances.
ALGORITHMS = ("wrr", "lrc", "wlrc", "iphash", "random2")
PROTOCOLS = ("uwsgi", "http")
#: What HTTPS means for a key: there beside HTTP, not there, or the only way once a certificate is valid.
TLS_MODES = ("auto", "off", "redirect")
#: Seconds that browsers may be told to ask by HTTPS only: 0 (nothing is said), a day, a year, two years.  nginx finds
#: them by the name of a folder, so that there are few.
HSTS_AGES = (0, 86_400, 31_536_000, 63_072_000)
#: Whether nodes are ejected by their answers, and what becomes of the path of a key in requests to its nodes.
EJECT_MODES = ("errors", "off")
MOUNT_MODES = ("keep", "script-name")
#: The name of the cookie by which clients stay with their node, where nobody names another.
STICKY_COOKIE = "fastroute"
#: Seconds that a node's share of the requests grows, at most.
MAX_RAMP = 600.0
#: A cookie's name, as RFC 6265 has it; longer ones nobody needs.
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_STICKY_OFF = "off"
#: A zone, as hosts are called.
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Bytes of one node's settings on the wire up to which their reading is remembered: any that make sense are shorter.
_MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What all nodes of a key share."""

    #: One of :data:`ALGORITHMS`; empty: the router's own.
    algorithm: str = ""
    #: Seconds that a request waits for a node, 0..600; None: the router's own.
    wait: float | None = None
    #: One of :data:`TLS_MODES`; empty: auto.  Routers only show it: nginx acts upon it, by what fastroute-certs writes.
    tls: str = ""
    #: One of :data:`HSTS_AGES`; 0: nothing is said.  As ``tls``.
    hsts: int = 0
    #: ``cookie:NAME``: clients stay with their node by that cookie; ``off``, or empty: they don't.
    sticky: str = ""
    #: One of :data:`EJECT_MODES`; empty: the router's own.
    eject: str = ""
    #: One of :data:`MOUNT_MODES`; empty: keep.
    mount: str = ""

    @property
    def cookie(self) -> str:
        """The name of the cookie by which clients stay with their node; empty: they don't."""
        return self.sticky.partition(":")[2]


@dataclass(frozen=True, slots=True)
class NodeOptions(KeyOptions):
    """What one node is announced with beside its key and address."""

    #: Share of the requests, 1..65535; 0 only of a node that drains.
    weight: int = 1
    #: Level 0..255: the node is used only when every lower level is down.
    backup: int = 0
    #: Both modifiers go into each request that is relayed, 0..255.
    modifier1: int = 0
    modifier2: int = 0
    #: One of :data:`PROTOCOLS`.
    protocol: str = "uwsgi"
    #: Requests in flight at once, at most; 0: no limit.
    max: int = 0
    #: Seconds over which its share of the requests grows after it joined, or came back; 0: it has all of it at once.
    ramp: float = 0.0
    #: Where it stands; a router in the same zone asks it first.  Empty: nobody says.
    zone: str = ""


class Setting(NamedTuple):
    """One field, as text."""

    #: The field; with it label, flag, variable, key in files, and the name in ops to relays.
    name: str
    #: Reads what people write; ``ValueError`` says what was expected.
    read: Callable[[str], Any]
    metavar: str
    #: For the help of a flag.
    about: str
    #: Name in subscription packets, which is uWSGI's where uWSGI has one.
    wire: str
    #: Reads what packets say: more lenient than ``read`` where uWSGI is, or where a newer announcer may say more.
    read_wire: Callable[[str], Any]


def _protocol(text: str) -> str:
    """uWSGI keeps the first letter only, and takes h for HTTP."""
    return "http" if text[:1] == "h" else "uwsgi"


def _wait_on_wire(text: str) -> float:
    """Longer than we know of is as long as we can."""
    return min(_seconds(duration_or_zero(text)), MAX_WAIT)


def _wait(text: str) -> float:
    return _seconds(_up_to_max_wait(text))


def _seconds(value: float) -> float:
    """Whole milliseconds: everybody writes them alike."""
    return round(value, 3)


def _max_on_wire(text: str) -> int:
    """More than we know of is as many as we can."""
    return min(whole(0, 10**17)(text), MAX_IN_FLIGHT)


def _hsts(text: str) -> int:
    if text not in map(str, HSTS_AGES):
        raise ValueError(f"{shown(text)}: one of 0, 86400 (a day), 31536000 (a year), 63072000 (two years) expected")
    return int(text)


def _sticky(text: str) -> str:
    kind, colon, name = text.partition(":")
    if text == _STICKY_OFF or (kind == "cookie" and (not colon or _COOKIE_NAME.fullmatch(name))):
        return text if colon or text == _STICKY_OFF else f"cookie:{STICKY_COOKIE}"
    hint = did_you_mean(kind, ["cookie", _STICKY_OFF]) if kind != "cookie" else ""
    raise ValueError(
        f"{shown(text)}: cookie, cookie:NAME (1 to 64 letters, digits, '-', '_', '.' ...) or off expected{hint}"
    )


def zone(text: str) -> str:
    """The name of a zone."""
    if not _ZONE.fullmatch(text):
        raise ValueError(f"{shown(text)}: 1 to 64 letters, digits and . _ - expected")
    return text


def _ramp(text: str) -> float:
    return _seconds(_up_to_max_ramp(text))


def _ramp_on_wire(text: str) -> float:
    """Longer than we know of is as long as we can."""
    return min(_seconds(duration_or_zero(text)), MAX_RAMP)


def _known(names: tuple[str, ...]) -> Callable[[str], str]:
    """A reader that takes what a newer version may say besides ``names`` for nothing said."""
    return lambda text: text if text in names else ""


def text_of(value: object) -> str:
    """The value of a setting, as people and packets write it."""
    return f"{value:g}" if isinstance(value, float) else f"{value}"


_up_to_max_wait = at_most(MAX_WAIT, "15, 15s or 500ms")
_up_to_max_ramp = at_most(MAX_RAMP, "30, 30s or 5m")
_byte = whole(0, 255)
_level = whole(0, MAX_LEVEL)

#: The settings of a node itself.
NODE_SETTINGS = (
    Setting("weight", whole(1, MAX_WEIGHT), "N", "share of the requests", "weight", whole(0, MAX_WEIGHT)),
    Setting("backup", _level, "LEVEL", "used only when every lower level is down", "backup", _level),
    Setting("modifier1", _byte, "N", "of the requests relayed", "modifier1", _byte),
    Setting("modifier2", _byte, "N", "of the requests relayed", "modifier2", _byte),
    Setting("protocol", choice(PROTOCOLS), "NAME", "what the worker speaks: uwsgi or http", "proto", _protocol),
    Setting(
        "max", whole(0, MAX_IN_FLIGHT), "N", "requests in flight at once, at most; 0: no limit", "max", _max_on_wire
    ),
    Setting("ramp", _ramp, "S", "its share of the requests grows so long after it joined", "ramp", _ramp_on_wire),
    Setting("zone", zone, "NAME", "where it stands; routers with the same --zone ask it first", "zone", zone),
)
_HSTS_EXAMPLES = "0, 86400, 31536000 or 63072000"
#: The settings of its key.
KEY_SETTINGS = (
    Setting("algorithm", choice(ALGORITHMS), "NAME", f"balancing of the key: {', '.join(ALGORITHMS)}", "algo", str),
    Setting("wait", _wait, "S", "how long a request of the key waits for a node, at most 600 s", "wait", _wait_on_wire),
    Setting("tls", choice(TLS_MODES), "MODE", "HTTPS of the key: auto, off or redirect", "tls", str),
    Setting("hsts", _hsts, "S", f"browsers use HTTPS only, so long: {_HSTS_EXAMPLES}", "hsts", whole(0, 10**9)),
    Setting("sticky", _sticky, "COOKIE", "clients stay with their node: cookie, cookie:NAME or off", "sticky", _sticky),
    Setting(
        "eject", choice(EJECT_MODES), "MODE", "nodes whose answers are errors are ejected: errors or off", "eject",
        _known(EJECT_MODES),
    ),
    Setting(
        "mount", choice(MOUNT_MODES), "MODE", "the path of the key in requests: keep, or script-name takes it off",
        "mount", _known(MOUNT_MODES),
    ),
)  # fmt: skip
ALL_SETTINGS = NODE_SETTINGS + KEY_SETTINGS
#: What a node has when nobody says anything.
DEFAULT = NodeOptions()

_BY_NAME = {setting.name: setting for setting in ALL_SETTINGS}
_WIRE_NAMES = tuple(setting.wire.encode() for setting in ALL_SETTINGS)
_DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(NodeOptions)}


def setting(name: str) -> Setting:
    """The row of one field."""
    return _BY_NAME[name]


def take_options(values: dict[str, Any]) -> NodeOptions:
    """The settings among ``values`` (by name), which are removed from there."""
    return NodeOptions(**{name: values.pop(name) for name in _DEFAULTS if name in values})


def non_defaults(options: KeyOptions, settings: Iterable[Setting] = ALL_SETTINGS) -> dict[str, Any]:
    """Name and value of each of ``settings`` that is not at its default: for ops and for whoever compares."""
    different = _differences(options)
    return {row.name: different[row.name] for row in settings if row.name in different} if different else {}


@lru_cache(1024)
def _differences(options: KeyOptions) -> dict[str, Any]:
    # Thousands of nodes say the same.
    values = ((name, getattr(options, name, default), default) for name, default in _DEFAULTS.items())
    return {name: value for name, value, default in values if value != default}


def https_fields(options: KeyOptions) -> dict[str, object]:
    """What a key says of HTTPS, as each status shows it."""
    return {"tls": options.tls or "auto", "tls_set": bool(options.tls), "hsts": options.hsts}


def balancing_fields(options: KeyOptions) -> dict[str, object]:
    """What a key says of its nodes and their requests, as each status shows it; None: the router's own."""
    return {"sticky": options.cookie or None, "eject": options.eject or None, "mount": options.mount or "keep"}


def with_key_options(options: NodeOptions, values: Mapping[str, object]) -> NodeOptions:
    """``options`` with the settings of the key in ``values`` (by name), and no others of the key."""
    wanted: dict[str, Any] = {row.name: values.get(row.name, _DEFAULTS[row.name]) for row in KEY_SETTINGS}
    if all(getattr(options, name) == value for name, value in wanted.items()):
        return options
    return replace(options, **wanted)


def overlaid(options: KeyOptions, others: KeyOptions) -> KeyOptions:
    """``options`` of a key with what ``others`` say."""
    values = non_defaults(others, KEY_SETTINGS)
    return replace(options, **values) if values else options


def from_names(values: Mapping[str, Any]) -> NodeOptions:
    """The settings in ``values``, by name.  A name that is none of ours is a newer version's, and ignored."""
    return NodeOptions(**{name: value for name, value in values.items() if name in _DEFAULTS}) if values else DEFAULT


def key_options(values: Mapping[str, Any]) -> KeyOptions:
    """The settings of a key in ``values``, by name; others, a newer version's among them, are ignored."""
    return KeyOptions(**{row.name: values[row.name] for row in KEY_SETTINGS if row.name in values})


def from_wire(pairs: Mapping[bytes, bytes]) -> NodeOptions:
    """The settings in the ``pairs`` of a packet; ``ValueError`` when the value of one makes no sense."""
    texts = tuple(map(pairs.get, _WIRE_NAMES))
    # Thousands of nodes say the same.
    remembers = sum(map(len, filter(None, texts))) <= _MAX_REMEMBERED
    return _remembered(texts) if remembers else _from_texts(texts)


def _from_texts(texts: tuple[bytes | None, ...]) -> NodeOptions:
    values: dict[str, Any] = {}
    for text, row in zip(texts, ALL_SETTINGS, strict=True):
        if text:
            try:
                values[row.name] = row.read_wire(text.decode("latin-1"))
            except ValueError as error:
                raise ValueError(f"{row.wire}: {error}") from None
    return NodeOptions(**values) if values else DEFAULT


_remembered = lru_cache(1024)(_from_texts)


def to_wire(options: NodeOptions, settings: Iterable[Setting]) -> list[tuple[bytes, bytes]]:
    """The pairs of a packet for those of ``settings`` that are not at their default."""
    return [
        (_BY_NAME[name].wire.encode(), text_of(value).encode("latin-1"))
        for name, value in non_defaults(options, settings).items()
    ]
