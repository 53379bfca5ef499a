"""The options of ``fastroute-router``: one row each, and how all sources become ``Settings``.

:func:`parse` is what the program calls; it reads FILE (YAML or uWSGI INI) and nothing else.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

import fastroute
from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.command_line import read_command_line
from fastroute.router.config.configuration import (
    Given,
    Option,
    Program,
    Resolved,
    read_environment,
    resolve,
    shown,
)
from fastroute.router.config.contradictions import refuse_contradictions
from fastroute.router.config.fixed_node import ATTRIBUTES, fixed_node, split_nodes
from fastroute.router.config.settings import Settings
from fastroute.router.config.uwsgi_options import read_ini
from fastroute.router.config.worker import WorkerSettings
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.node_options import ALGORITHMS, EJECT_MODES, setting, zone

#: What uWSGI's workers sign with; the control process has the library that knows them.
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
#: Far more than a relay has descriptors for.
MAX_WAITING = 1_000_000


def sign_check(text: str) -> str:
    """``DIGEST:DIR`` with a digest that exists and a directory that can be read."""
    digest, colon, folder = text.partition(":")
    if not colon or digest.lower() not in DIGESTS:
        raise ValueError(f"{shown(text)}: DIGEST:DIR expected, with one of {', '.join(DIGESTS)}")
    return f"{digest.lower()}:{file_types.directory(folder)}"


def account(look_up: Callable[[str], int]) -> Callable[[str], int]:
    """A reader of user or group ids, as a number or a name that ``look_up`` knows."""

    def read(text: str) -> int:
        if re.fullmatch(r"\d{1,9}", text, re.ASCII):
            return int(text)
        try:
            return look_up(text)
        except (KeyError, ValueError):
            raise ValueError(f"{shown(text)}: no such name on this machine") from None

    return read


def key_template(text: str) -> str:
    """A path, or an address whose host no client can choose: what a key is put into."""
    host, colon, _ = types.path(text).rpartition(":")
    if text[0] not in "/.@" and (not colon or "%s" in host or not parse_address(f"{host}:1").numeric):
        raise ValueError(f"{shown(text)}: a path expected, or IP:PORT with the key in the port only")
    return text


OPTIONS = (
    Option(
        "listen",
        types.socket_address,
        "ADDR",
        "front socket that nginx's uwsgi_pass points to: host:port, [v6]:port, :port (all interfaces), a path,"
        " @abstract or fd://N",
        repeatable=True,
    ),
    Option(
        "listen-http",
        types.socket_address,
        "ADDR",
        "front socket that speaks HTTP/1.1 with kept connections (docs/http-front.md)",
        repeatable=True,
        none="none",
    ),
    Option("listen-mode", types.permissions, "MODE", "permissions of unix sockets, in octal", default_text="0660"),
    Option(
        "replace-sockets",
        types.boolean,
        "",
        "take the paths of unix sockets from a router that listens there; it keeps the connections that it has",
    ),
    Option(
        "subscription-server",
        types.socket_address,
        "ADDR",
        "where subscriptions arrive: UDP host:port, or a path (unix datagram); none: nowhere",
        repeatable=True,
        none="none",
        default_text="127.0.0.1:3031, UDP",
    ),
    Option(
        "challenge-server",
        types.socket_address,
        "ADDR",
        "a subscription server for paths of ACME challenges alone (docs/https.md): UDP host:port, or a path",
        repeatable=True,
        none="none",
    ),
    Option(
        "challenge-node",
        types.node_address,
        "ADDR",
        "the address that may be announced at challenge servers",
        repeatable=True,
        none="none",
        default_text="the announcer's own IP",
    ),
    Option("admin", types.socket_address, "ADDR", "HTTP API, metrics, health; none turns it off", none="none"),
    Option(
        "admin-read",
        types.socket_address,
        "ADDR",
        "the same HTTP for whoever may read and change nothing: host:port or a path",
        repeatable=True,
        none="none",
    ),
    Option(
        "stats",
        types.socket_address,
        "ADDR",
        "stats socket with the JSON of the uWSGI fastrouter",
        repeatable=True,
        none="none",
    ),
    Option("processes", types.whole(1, 256), "N", "relay processes sharing the front sockets"),
    Option("cheap", types.boolean, "", "stop accepting while there is no node at all"),
    Option("algorithm", types.choice(ALGORITHMS), "NAME", f"balancing: {', '.join(ALGORITHMS)}"),
    Option("tolerance", types.duration, "S", "a node that announced itself and is silent this long leaves"),
    Option(
        "connect-timeout",
        types.duration,
        "S",
        "connect to a node; less, down to 0.25 s, at one that is new or whose connects took less, and that is silent",
    ),
    Option("zone", zone, "NAME", "where this router stands: nodes with the same zone are asked first", none="none"),
    Option("timeout", types.duration, "S", "silence while waiting for a node's answer"),
    Option("max-retries", types.whole(0, 1000), "N", "other nodes tried after a failed connect"),
    Option("buffer-size", types.whole(64, 65_536), "BYTES", "largest uwsgi vars block accepted"),
    Option(
        "fallback", types.node_address, "ADDR", "node for unknown keys, after live nodes", repeatable=True, none="none"
    ),
    Option(
        "node",
        fixed_node,
        "KEY=ADDR[,weight=N]",
        f"fixed node; attributes: {ATTRIBUTES}",
        repeatable=True,
        none="none",
        split=split_nodes,
    ),
    Option("key-grace", types.duration_or_zero, "S", "a key without nodes is still known (503, not 404) this long"),
    Option("stale-max", types.duration_or_zero, "S", "how long nodes of a silent controller are kept"),
    Option("client-timeout", types.duration, "S", "silence of the client while its request is incomplete"),
    Option("idle-timeout-http", types.duration, "S", "an HTTP client's connection without a request is kept this long"),
    Option(
        "http-trusted",
        types.network,
        "CIDR",
        "proxies at an HTTP front that are believed for whom they ask; replaces the default",
        repeatable=True,
        none="none",
        default_text="loopback",
    ),
    Option(
        "http-proxies",
        types.network,
        "CIDR",
        "proxies whose addresses in X-Forwarded-For are passed over: the last one that is no such is the client's",
        repeatable=True,
        none="none",
    ),
    Option(
        "http-keep-slashes", types.boolean, "", "PATH_INFO keeps // at an HTTP front, as nginx with merge_slashes off"
    ),
    Option("idle-timeout", types.duration, "S", "silence of both sides after an upgrade or in a stream"),
    Option(
        "state-dir",
        file_types.writable_directory,
        "DIR",
        "snapshot of the pools: a restart serves at once",
        none="none",
    ),
    Option(
        "run-dir",
        file_types.writable_directory,
        "DIR",
        "a new router takes over the sockets of the running one here",
        none="none",
    ),
    Option(
        "subscription-secret-file",
        file_types.secret_file,
        "FILE",
        "secret by which announcers elsewhere prove themselves",
        none="none",
    ),
    Option("subscription-sign-check", sign_check, "DIGEST:DIR", "signed subscriptions as uWSGI does them", none="none"),
    Option(
        "subscription-allow",
        types.network,
        "CIDR",
        "senders that may subscribe unsigned by UDP; replaces the default",
        repeatable=True,
        none="none",
        default_text="loopback",
    ),
    Option("admin-token-file", file_types.readable_file, "FILE", "bearer token for changes by HTTP", none="none"),
    Option("drain-timeout", types.duration_or_zero, "S", "at SIGTERM, requests in flight may finish this long"),
    Option(
        "log-format",
        types.choice(types.LOG_FORMATS),
        "FORMAT",
        "text or json",
        default_text="text on a terminal, json else",
    ),
    Option("log-level", types.choice(types.LOG_LEVELS), "LEVEL", ", ".join(types.LOG_LEVELS)),
    Option("access-log", types.path, "FILE", "a line for each request; - is standard output", none="none"),
    Option(
        "otlp", types.http_url, "URL", "OpenTelemetry collector that gets a span of each sampled request", none="none"
    ),
    Option("trace-sample", types.share, "SHARE", "of the requests without a traceparent, how many: 0.01 is one in 100"),
    Option("request-id", types.boolean, "", "give requests without X-Request-ID one (HTTP_X_REQUEST_ID in the vars)"),
    Option(
        "wait", setting("wait").read, "S", "how long a request waits for a node (at most 600), unless its key says it"
    ),
    Option("wait-max", types.whole(0, MAX_WAITING), "N", "requests that may wait for one key in one relay"),
    Option(
        "eject",
        types.choice(EJECT_MODES),
        "MODE",
        "errors: a node whose answers are errors, while others of its key do better, is ejected (docs/balancing.md)",
    ),
    Option(
        "error-pages",
        file_types.directory,
        "DIR",
        "pages for the router's own answers: 404.html, 502.html, ...; those of one key in DIR/KEY",
        none="none",
    ),
    Option("fallback-on-no-key", types.boolean, "", "the fallback also serves keys without any node", file_only=True),
    Option("to", types.node_address, "ADDR", "node for every key", repeatable=True, file_only=True),
    Option("base", key_template, "PREFIX", "the node of a key is this with the key behind it", file_only=True),
    Option("pattern", key_template, "PATTERN", "the node of a key is this with the key in place of %s", file_only=True),
    Option(
        "resubscribe",
        types.node_address,
        "ADDR",
        "another router, which is told of every node here",
        repeatable=True,
        file_only=True,
    ),
    Option(
        "post-buffering",
        types.whole(0, 2**40),
        "BYTES",
        "read a request's body before connecting, up to this much in memory; 0: never",
        file_only=True,
    ),
    Option(
        "mountpoints",
        types.whole(0, 64),
        "N",
        "path elements that belong to a key at most; 0: as many as the keys have",
        file_only=True,
    ),
    Option("dotsplit", types.boolean, "", "keys like .example.com match all hosts below", file_only=True),
    Option("vacuum", types.boolean, "", "remove unix sockets and the pid file at the end", file_only=True),
    Option("uid", account(lambda name: pwd.getpwnam(name).pw_uid), "ID", "user to become", file_only=True),
    Option("gid", account(lambda name: grp.getgrnam(name).gr_gid), "ID", "group to become", file_only=True),
    Option("pidfile", types.path, "FILE", "file for the master's process id", file_only=True),
    Option("logto", types.path, "FILE", "file that takes what would go to standard error", file_only=True),
)

PROGRAM = Program(
    name="fastroute-router",
    section="router",
    about="Relays requests in the uwsgi protocol to the workers that announced themselves.",
    file_help="FILE is YAML (section router:) or a uWSGI INI (section [uwsgi]).",
    options=OPTIONS,
    defaults=Settings(),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> Settings:
    """The settings of one start.  ``argv`` is without the program's name.

    Raises ``ConfigurationError`` for anything wrong, ``InfoRequested`` for ``--help`` and ``--version``.
    """
    sources, workers = _sources(argv, environ, width)
    values = resolve(PROGRAM, sources)
    settings = Settings(**{field: resolved.value for field, resolved in values.items()}, workers=workers)
    refuse_contradictions(settings, values)
    return settings


def resolve_all(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> dict[str, Resolved]:
    """Every setting with its origin, by field name; the sources from flags to FILE."""
    return resolve(PROGRAM, _sources(argv, environ, width)[0])


def _sources(
    argv: Sequence[str], environ: Mapping[str, str], width: int
) -> tuple[list[Given], tuple[WorkerSettings, ...]]:
    line = read_command_line(PROGRAM, argv, fastroute.__version__, width)
    variables = read_environment(PROGRAM, environ)
    from_file, workers = _read(line.file, environ) if line.file is not None else ({}, ())
    return [line.flags, variables, from_file], workers


def _read(file: str, environ: Mapping[str, str]) -> tuple[Given, tuple[WorkerSettings, ...]]:
    # Only now: a router without FILE needs no YAML.
    from fastroute.router.config.configuration_file import decode, read_file, read_section, sections_of
    from fastroute.router.config.workers_section import read_workers

    data = read_file(file)
    if is_ini(file, data):
        return read_ini(decode(data, file), file, environ, lambda name: decode(read_file(name), name))
    sections = sections_of(data, file)
    workers = read_workers(sections["workers"], file) if "workers" in sections else ()
    return read_section(PROGRAM, sections.get("router"), file), workers


def is_ini(file: str, data: bytes) -> bool:
    """Whether FILE is an INI: by the end of its name, else by whether its first line with text is a ``[section]``."""
    suffix = PurePath(file).suffix.lower()
    if suffix in (".ini", ".yaml", ".yml"):
        return suffix == ".ini"
    return re.match(rb"(\s*([#;][^\n]*)?\n)*\s*\[[^\],\n]*\]\s*(\n|$)", data) is not None
