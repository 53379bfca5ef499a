"""Labels of a container: what to route, or what is wrong with them.  Pure; docs/reference/labels.md.

One row of :data:`LABELS` is one label.  A problem never raises: :func:`parse_labels` returns all of them, as sentences
for the person who wrote the label, and a container with any problem routes nothing.  ``PREFIX.NAME.setting`` belongs to
the named route NAME; what a named route does not say, it takes from the unnamed labels, then from the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from fastroute.router.config.configuration import nearest
from fastroute.router.protocol.key import KeyProblem, parse_key
from fastroute.router.protocol.node_options import (
    ALGORITHMS,
    DEFAULT,
    EJECT_MODES,
    MAX_LEVEL,
    MAX_WEIGHT,
    MOUNT_MODES,
    PROTOCOLS,
    TLS_MODES,
    NodeOptions,
    take_options,
)
from fastroute.router.protocol.node_options import setting as setting_row

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PATH = re.compile(r"/[!-~]{0,1023}")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route that labels ask for."""

    #: Empty: the unnamed one.
    name: str
    keys: tuple[str, ...]
    port: int
    #: Empty: the controller chooses.
    network: str = ""
    #: With weight 0: no new requests.
    options: NodeOptions = DEFAULT
    health: str = "docker"
    #: ``tcp``, ``none`` or a path.
    probe: str = "tcp"


@dataclass(frozen=True, slots=True)
class Labels:
    """What the labels of one container say.  With ``problems``, ``routes`` is empty."""

    routes: tuple[RouteSpec, ...] = ()
    problems: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(slots=True)
class _LabelReading:
    """Settings found so far: route name -> setting -> value, and what was wrong."""

    prefix: str
    zone: str = ""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def label(self, name: str, setting: str) -> str:
        return ".".join(filter(None, (self.prefix, name, setting)))


def is_labelled(labels: Mapping[str, str], prefix: str) -> bool:
    """True when people should see this container: any label of ours but the one that marks a router."""
    return any(name.startswith(f"{prefix}.") and name != f"{prefix}.role" for name in labels)


def is_router(labels: Mapping[str, str], prefix: str) -> bool:
    """True for the router's own container; the default prefix counts too, as one router serves several controllers."""
    return "router" in (labels.get(f"{prefix}.role"), labels.get("fastroute.role"))


def parse_labels(labels: Mapping[str, str], exposed: tuple[int, ...], prefix: str, zone: str = "") -> Labels:
    """The routes that ``labels`` ask for; ``exposed`` are the container's TCP ports, for the default port, and ``zone``
    is that of nodes whose labels name none."""
    reading = _LabelReading(prefix, zone)
    for label in sorted(labels):
        if label.startswith(f"{prefix}."):
            _read_label(reading, label, labels[label])
    common = reading.settings.get("", {})
    if common.get("enable") is False:
        return Labels(enabled=False)
    routes = [route for name in sorted(reading.settings) if (route := _route(reading, name, common, exposed))]
    if not any("key" in settings for settings in reading.settings.values()) and not reading.problems:
        reading.problems.append(f"no label {prefix}.key: it names the key (host name) that this container serves")
    _check_doubles(reading, routes)
    if reading.problems:
        return Labels(problems=tuple(reading.problems))
    return Labels(tuple(routes), enabled=bool(routes))


def _read_label(reading: _LabelReading, label: str, value: str) -> None:
    name, _, setting = label.removeprefix(f"{reading.prefix}.").rpartition(".")
    row = LABELS.get(setting)
    if row is None or (name and not _NAME.fullmatch(name)) or (name and setting == "role"):
        reading.problems.append(f"unknown label {label}{_suggestion(reading, name, setting)}")
        return
    try:
        reading.settings.setdefault(name, {})[setting] = row.parse(value.strip())
    except ValueError as error:
        reading.problems.append(f"label {label}: {error}")


def _suggestion(reading: _LabelReading, name: str, setting: str) -> str:
    near = nearest(setting.lower(), LABELS)
    if name and not _NAME.fullmatch(name):
        return f": expected {reading.prefix}.SETTING or {reading.prefix}.NAME.SETTING"
    if near:
        return f": did you mean {reading.label(name, near)}?"
    return f": known are {', '.join(LABELS)}"


def _route(reading: _LabelReading, name: str, common: dict[str, Any], exposed: tuple[int, ...]) -> RouteSpec | None:
    own = reading.settings[name]
    if "key" not in own:
        if name and not reading.problems:
            some = reading.label(name, min(own))
            reading.problems.append(f"label {some} without {reading.label(name, 'key')}: that route has no key")
        return None
    merged = {"zone": reading.zone, **common, **own}
    if merged.pop("enable", True) is False:
        return None
    merged.pop("role", None)
    keys = merged.pop("key")
    port = merged.pop("port", None)
    if port is None and len(exposed) == 1:
        port = exposed[0]
    if port is None:
        ports = ", ".join(map(str, exposed))
        cause = f"the container exposes several TCP ports ({ports})" if exposed else "the container exposes no TCP port"
        reading.problems.append(f"{cause}: set {reading.label(name, 'port')}")
        return None
    return RouteSpec(name=name, keys=keys, port=port, options=take_options(merged), **merged)


def _check_doubles(reading: _LabelReading, routes: list[RouteSpec]) -> None:
    seen: dict[tuple[str, int, str], str] = {}
    for route in routes:
        for key in route.keys:
            first = seen.setdefault((key, route.port, route.network), route.name)
            if first != route.name:
                first_label, second_label = reading.label(first, "key"), reading.label(route.name, "key")
                reading.problems.append(f"{first_label} and {second_label} both give {key} to port {route.port}")


def _keys(text: str) -> tuple[str, ...]:
    keys = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            keys.append(parse_key(item))
        except KeyProblem as problem:
            raise ValueError(str(problem)) from None
    if not keys:
        raise ValueError("empty: one or more host names expected, comma separated")
    return tuple(dict.fromkeys(keys))


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
            raise ValueError(f"{text[:40]!r} is no number from {low} to {high}")
        return int(text)

    return parse


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            near = nearest(text.lower(), words)
            hint = f" (did you mean {near}?)" if near else ""
            raise ValueError(f"{text[:40]!r} is none of {', '.join(words)}{hint}")
        return text.lower()

    return parse


def _flag(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"{text[:40]!r} is neither true nor false")
    return text.lower() in _TRUE


def _network(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError(f"{text[:40]!r} is no network's name")
    return text


def probe(text: str) -> str:
    """``tcp``, ``none`` or a path."""
    if text.lower() in ("tcp", "none"):
        return text.lower()
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is none of tcp, none or a path like /health")
    return text


#: What a label is about: each ``node`` (the container under one key), the whole ``key`` (of containers that differ the
#: oldest counts), or the ``container`` as a whole, whatever its routes are.
LabelScope = Literal["node", "key", "container"]


class Label(NamedTuple):
    """One label.  A setting of :class:`NodeOptions` has the name of its field."""

    #: Behind ``PREFIX.`` or ``PREFIX.NAME.``.
    name: str
    #: ``ValueError`` says what is wrong with the text, in words that end a sentence.
    parse: Callable[[str], Any]
    #: For people; Markdown.
    default: str
    meaning: str
    scope: LabelScope = "node"


_ROWS = (
    Label("key", _keys, "none; the label opts the container in",
          "one or more keys, comma separated; blanks around them and empty items are ignored"),
    Label("port", _number(1, 65_535), "the only exposed TCP port", "the port on which the worker listens"),
    Label("network", _network, 'see "Address"', "the Docker network whose address is used"),
    Label("weight", _number(0, MAX_WEIGHT), "1", "share of the requests, 0 to 65535; 0: no new requests"),
    Label("backup", _number(0, MAX_LEVEL), "0", "level, 0 to 255: used only when every lower level is down"),
    Label("algorithm", _choice(*ALGORITHMS), "the router's",
          "`wrr`, `lrc`, `wlrc`, `iphash` or `random2`, for the whole key", "key"),
    Label("wait", setting_row("wait").read, "the router's",
          "how long a request of this key waits for a node: `15`, `15s`, `500ms`, at most 600 s; 0: not at all", "key"),
    Label("tls", _choice(*TLS_MODES), "auto",
          "`auto`: HTTPS is there, and HTTP works; `redirect`: HTTP answers 308 once a valid certificate is there;"
          " `off`: no HTTPS (docs/https.md)", "key"),
    Label("hsts", setting_row("hsts").read, "0",
          "answers by HTTPS tell browsers to use nothing else for so many seconds, once a valid certificate is there:"
          " 86400, 31536000 or 63072000; 0: they say nothing", "key"),
    Label("sticky", setting_row("sticky").read, "off",
          "`cookie` or `cookie:NAME`: clients stay with the container that their cookie names; NAME is `fastroute`"
          " unless given", "key"),
    Label("eject", _choice(*EJECT_MODES), "the router's",
          "`errors`: a container that mostly answers 5xx or too late, while the others of the key do better, gets no"
          " requests for a while; `off`: it stays", "key"),
    Label("mount", _choice(*MOUNT_MODES), "`keep`",
          "of a key with a path: `script-name` takes it from the path that the application sees, into SCRIPT_NAME (for"
          " HTTP workers, into `X-Forwarded-Prefix`)", "key"),
    Label("max", setting_row("max").read, "0", "requests in flight on this container at once, at most; 0: no limit"),
    Label("ramp", setting_row("ramp").read, "0",
          "a container that joins, or is back, gets its share of the requests little by little over this time: `30s`,"
          " at most 600 s"),
    Label("zone", setting_row("zone").read, "the controller's `--zone`",
          "where the container stands: a router with the same `--zone` asks it before others (docs/balancing.md)"),
    Label("modifier1", _number(0, 255), "0", "put into every request relayed, 0 to 255"),
    Label("modifier2", _number(0, 255), "0", "put into every request relayed, 0 to 255"),
    Label("health", _choice("docker", "ignore"), "`docker`", "`docker`: a container with a HEALTHCHECK is routed only"
          " while it is healthy; `ignore`: the HEALTHCHECK does not count"),
    Label("protocol", _choice(*PROTOCOLS), "`uwsgi`", "`http`: the worker speaks HTTP/1.1"),
    Label("probe", probe, "`tcp`", 'for a container without a HEALTHCHECK; see "Probe"'),
    Label("enable", _flag, "true", "false: the container (or the named route) is not routed"),
    Label("role", _choice("router"), "none",
          '`router`: this container is a router, whose networks count for "Address"', "container"),
)  # fmt: skip
#: Every label, by name, in the order of the documentation, which is generated from here.
LABELS: Mapping[str, Label] = {row.name: row for row in _ROWS}
