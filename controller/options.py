"""The options of ``fastroute-controller``: one row each, and how all sources become settings.

:func:`parse` is what the program calls; it reads FILE (YAML) and nothing else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import fastroute
from fastroute.controller.settings import ControllerSettings, DockerHost
from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.command_line import read_command_line
from fastroute.router.config.configuration import (
    ConfigurationError,
    Option,
    Program,
    Resolved,
    Text,
    comma_list,
    resolve,
    shown,
)
from fastroute.router.config.sources import read_sources
from fastroute.router.protocol.address import Address, parse_address
from fastroute.router.protocol.node_options import zone

_SCHEMES = ("unix", "tcp", "http", "https", "ssh")
_SOURCE = re.compile(r"[A-Za-z0-9._:@-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def docker_host(text: str) -> DockerHost:
    """``URL`` or ``URL,address=published``."""
    url, *attributes = (part.strip() for part in text.split(","))
    if attributes not in ([], ["address=published"], ["address=internal"]):
        raise ValueError(f"{shown(text)}: URL or URL,address=published expected")
    parts = urlsplit(url)
    complete = parts.path.strip("/") if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in _SCHEMES or not complete:
        raise ValueError(f"{shown(text)}: a Docker URL expected: unix:///path, tcp://host:port or ssh://user@host")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{shown(text)}: its port is no number from 0 to 65535") from None
    if parts.scheme in ("tcp", "http", "https") and port is None:
        raise ValueError(f"{shown(text)}: its port is missing: {parts.scheme}://host:port expected (like :2375)")
    return DockerHost(url, attributes == ["address=published"])


def split_docker_hosts(text: str) -> list[str]:
    """The engines of a comma separated list; ``address=`` belongs to the URL before it."""
    hosts: list[str] = []
    for item in comma_list(text):
        if hosts and item.startswith("address="):
            hosts[-1] += f",{item}"
        else:
            hosts.append(item)
    return hosts


def router_address(text: str) -> Address:
    """A subscription address: UDP, or the path of a unix datagram socket."""
    address = types.node_address(text)
    if address.path.startswith("@"):
        raise ValueError(f"{shown(text)}: host:port (UDP) or a socket path expected")
    return address


def source_name(text: str) -> str:
    """A controller's name on the wire (docs/reference/wire.md, ``source``)."""
    if not _SOURCE.fullmatch(text) or text in ("operator", "static"):
        raise ValueError(f"{shown(text)}: 1 to 64 of A-Z a-z 0-9 . _ : @ - expected (operator and static are taken)")
    return text


def label_prefix(text: str) -> str:
    """What labels begin with, without the dot behind it."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"{shown(text)}: a prefix of labels expected, without a dot at its end (like fastroute)")
    return text


def network_name(text: str) -> str:
    """The name of a Docker network."""
    if not _NETWORK.fullmatch(text):
        raise ValueError(f"{shown(text)}: the name of a Docker network expected")
    return text


def label_filter(text: str) -> str:
    """``label=NAME`` or ``label=NAME=VALUE``; returned without ``label=``."""
    kind, _, condition = text.partition("=")
    if kind != "label" or not condition.partition("=")[0]:
        raise ValueError(f"{shown(text)}: label=NAME or label=NAME=VALUE expected")
    return condition


def command(text: str) -> str:
    """A command line as a shell would split it."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)}: a command expected: {error}") from None
    if not words:
        raise ValueError("a command expected")
    return text


def reload_method(text: str) -> str:
    """``signal:PIDFILE`` or ``command:...``."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("signal", "command"):
        raise ValueError(f"{shown(text)}: signal:PIDFILE or command:COMMAND expected")
    return f"{kind}:{types.path(rest) if kind == 'signal' else command(rest)}"


def listening(text: str) -> str:
    """The argument of ``listen`` in nginx: ``PORT``, ``IP:PORT`` or ``[v6]:PORT``."""
    address = parse_address(f":{text}" if text.isdigit() else text)
    if address.kind != "inet" or not address.numeric or not address.port:
        raise ValueError(f"{shown(text)}: PORT, IP:PORT or [v6]:PORT expected")
    return text if text.isdigit() else str(address)


def certificates(text: str) -> str:
    """A folder as it may stand in nginx's configuration, beside variables."""
    if not re.fullmatch(r"/[A-Za-z0-9._/-]{1,200}", text):
        raise ValueError(f"{shown(text)}: an absolute path of letters, digits and . _ - / expected")
    return text.rstrip("/")


def nginx_version(text: str) -> tuple[int, ...]:
    """``1.26.3``, as nginx -v says it."""
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}", text, re.ASCII):
        raise ValueError(f"{shown(text)}: a version expected (like 1.26.3)")
    return tuple(map(int, text.split(".")))


def loopback(text: str) -> Address:
    """A TCP address of this machine alone."""
    address = parse_address(text)
    if not address.loopback or not address.numeric or not address.port:
        raise ValueError(f"{shown(text)}: an address on loopback expected (like 127.0.0.1:3035)")
    return address


OPTIONS = (
    Option("mode", types.choice(("router", "nginx")), "MODE", "router: push subscriptions; nginx: render upstreams"),
    Option(
        "docker-host",
        docker_host,
        "URL",
        "Docker Engine: unix, tcp, ssh; URL,address=published when its containers are reached by published ports",
        repeatable=True,
        default_text="DOCKER_HOST or the local socket",
        split=split_docker_hosts,
    ),
    Option(
        "name",
        source_name,
        "NAME",
        "who this controller is to the routers: stable, and different per engine",
        default_text="from the engine's id, prefix and filters",
    ),
    Option(
        "router",
        router_address,
        "ADDR",
        "where routers take subscriptions: UDP host:port (every address behind a name), or a unix datagram path",
        repeatable=True,
    ),
    Option("subscription-secret-file", file_types.secret_file, "FILE", "secret shared with the routers", none="none"),
    Option(
        "network",
        network_name,
        "NAME",
        "network whose address is used when a container has several",
        default_text="those shared with the router",
    ),
    Option("label-prefix", label_prefix, "PREFIX", "what the labels begin with"),
    Option(
        "filter", label_filter, "label=...", "only containers that match, all of them", repeatable=True, none="none"
    ),
    Option("exclusive-keys", types.boolean, "", "a key that one compose project serves is refused to all others"),
    Option("static", file_types.readable_file, "FILE", "YAML of nodes outside Docker", none="none"),
    Option(
        "state-dir",
        file_types.writable_directory,
        "DIR",
        "keeps what operators asked for (drains, weights, pauses, maintenance) through restarts of the controller",
        none="none",
    ),
    Option("resync", types.duration, "S", "between full comparisons with Docker"),
    Option("heartbeat", types.duration, "S", "between packets to a router when nothing changes"),
    Option(
        "peers",
        types.node_address,
        "ADDR",
        "in a swarm: the other controllers (every address behind a name), for what managers alone may read",
        repeatable=True,
        none="none",
    ),
    Option(
        "peers-listen",
        parse_address,
        "ADDR",
        "in a swarm: where other controllers ask; they prove that they have the secret",
        none="none",
    ),
    Option("zone", zone, "NAME", "where nodes stand whose labels name no zone", none="none"),
    Option("linger", types.duration_or_zero, "S", "after SIGTERM go on for so long: who ends with us is withdrawn"),
    Option("admin", parse_address, "ADDR", "HTTP API, metrics, health; none turns it off", none="none"),
    Option(
        "admin-read",
        parse_address,
        "ADDR",
        "the same HTTP for whoever may read and change nothing: host:port or a path",
        repeatable=True,
        none="none",
    ),
    Option("admin-token-file", file_types.readable_file, "FILE", "bearer token for changes by HTTP", none="none"),
    Option(
        "log-format",
        types.choice(types.LOG_FORMATS),
        "FORMAT",
        "text or json",
        default_text="text on a terminal, json else",
    ),
    Option("log-level", types.choice(types.LOG_LEVELS), "LEVEL", ", ".join(types.LOG_LEVELS)),
    Option("nginx-conf-dir", types.path, "DIR", "nginx mode: directory of the generated files"),
    Option("nginx-template-dir", types.path, "DIR", "nginx mode: your templates", none="none", default_text="built in"),
    Option("nginx-agent", types.path, "PATH", "nginx mode: unix socket of the agent beside nginx", none="none"),
    Option("nginx-reload", reload_method, "HOW", "nginx mode: signal:PIDFILE or command:COMMAND"),
    Option("nginx-test", command, "COMMAND", "nginx mode: tests a configuration"),
    Option("nginx-min-interval", types.duration_or_zero, "S", "nginx mode: between reloads; less for nodes leaving"),
    Option("nginx-listen", listening, "ADDR", "nginx mode: PORT or IP:PORT of the generated servers", repeatable=True),
    Option(
        "nginx-listen-tls",
        listening,
        "ADDR",
        "nginx mode: PORT or IP:PORT of HTTPS; needs --nginx-certificates",
        repeatable=True,
        none="none",
    ),
    Option(
        "nginx-certificates",
        certificates,
        "DIR",
        "nginx mode: what fastroute-certs writes, as nginx sees it",
        none="none",
    ),
    Option("nginx-https-port", types.whole(1, 65_535), "PORT", "nginx mode: the port of HTTPS that redirects name"),
    Option(
        "nginx-version",
        nginx_version,
        "VERSION",
        "nginx mode: of the nginx that reads the files, for HTTP/2 and a cache of certificates",
        none="none",
        default_text="your nginx.conf says http2 on",
    ),
    Option(
        "nginx-challenge",
        types.node_address,
        "ADDR",
        "nginx mode: where fastroute-certs answers challenges of all hosts",
        none="none",
    ),
    Option("nginx-status", loopback, "ADDR", "nginx mode: where nginx says, on loopback, what it runs"),
    Option(
        "nginx-trusted-proxies",
        types.network,
        "CIDR",
        "nginx mode: proxies in front of nginx, whose X-Forwarded-* headers count",
        repeatable=True,
        none="none",
    ),
)

PROGRAM = Program(
    name="fastroute-controller",
    section="controller",
    about="Watches Docker and tells routers (or nginx) which containers serve which key.",
    file_help="FILE is YAML (section controller:).",
    options=OPTIONS,
    defaults=ControllerSettings(),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> ControllerSettings:
    """The settings of one start.  ``argv`` is without the program's name.

    Raises ``ConfigurationError`` for anything wrong, ``InfoRequested`` for ``--help`` and ``--version``.
    """
    values = resolve_all(argv, environ, width)
    settings = ControllerSettings(**{field: resolved.value for field, resolved in values.items()})
    if settings.nginx_listen_tls and settings.nginx_certificates is None:
        raise ConfigurationError(f"{values['nginx_listen_tls'].origin}: --nginx-certificates is expected with it")
    for field in ("peers", "peers_listen"):
        if getattr(settings, field) and settings.subscription_secret_file is None:
            raise ConfigurationError(f"{values[field].origin}: --subscription-secret-file is expected with it")
    for field in ("router", "docker_host"):
        given = getattr(settings, field)
        if not given:
            raise ConfigurationError(f"{values[field].origin}: at least one expected")
        if repeated := next((value for value in given if given.count(value) > 1), None):
            raise ConfigurationError(f"{values[field].origin}: {repeated} is given twice")
    return settings


def configuration_file(argv: Sequence[str]) -> str | None:
    """The FILE that a good command line names."""
    return read_command_line(PROGRAM, argv, fastroute.__version__).file


def resolve_all(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> dict[str, Resolved]:
    """Every setting with its origin, by field name; the sources from flags to FILE, then DOCKER_HOST."""
    sources = read_sources(PROGRAM, argv, environ, width)
    if not any("docker-host" in source for source in sources) and (url := environ.get("DOCKER_HOST", "").strip()):
        sources.append({"docker-host": [Text(url, "DOCKER_HOST")]})
    return resolve(PROGRAM, sources)
