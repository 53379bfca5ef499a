"""The settings of the router, after every source was read and checked: one frozen object.  Standard library only.

The relay process imports this, so nothing here may need YAML.  Field names are the option names with underscores;
this is the only place that knows the defaults (docs/reference/router.md).  Times are seconds, sizes bytes.  A
``Settings`` that exists is valid: whoever takes it checks nothing again.  The second half has no flag: it is what
only a uWSGI INI can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from fastroute.router.config.worker import WorkerSettings, from_plain
from fastroute.router.protocol.address import Address, parse_address
from fastroute.router.protocol.node_options import DEFAULT, KEY_SETTINGS, KeyOptions, NodeOptions

FRONT = parse_address("127.0.0.1:3031")
ADMIN = parse_address("127.0.0.1:3033")
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class FixedNode:
    """A node that is not announced (``--node``): it stays as long as the router runs."""

    #: Normalised.
    key: str
    address: Address
    options: NodeOptions = DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of ``fastroute-router``."""

    listen: tuple[Address, ...] = (FRONT,)
    """Front sockets; never empty."""
    listen_http: tuple[Address, ...] = ()
    """Front sockets that speak HTTP/1.1."""
    listen_mode: int = 0o660
    """Permission bits of every unix socket that the router makes."""
    replace_sockets: bool = False
    """Take the paths of unix sockets from whoever listens there."""
    subscription_server: tuple[Address, ...] = (FRONT,)
    """Datagram sockets (UDP or unix) where subscriptions arrive; empty: none, only fixed nodes and operators."""
    challenge_server: tuple[Address, ...] = ()
    """Datagram sockets where paths of ACME challenges are announced, and nothing else."""
    challenge_node: tuple[Address, ...] = ()
    """The addresses that may be announced there; empty: each announcer's own IP."""
    admin: Address | None = ADMIN
    """HTTP: API, metrics, health.  None: turned off."""
    admin_read: tuple[Address, ...] = ()
    """The same HTTP, for reading only."""
    stats: tuple[Address, ...] = ()
    """Sockets that answer with uWSGI's JSON."""
    processes: int = 1
    """Relay processes, at least 1."""
    cheap: bool = False
    """Stop accepting while there is no node at all."""
    algorithm: str = "wrr"
    """Balancing of keys that name none."""
    tolerance: float = 25.0
    """Silence after which a node that announced itself leaves."""
    connect_timeout: float = 3.0
    """For the connection to a node, each try."""
    zone: str | None = None
    """Where the router stands.  None: no node is nearer than another."""
    timeout: float = 60.0
    """Silence while waiting for a node's answer."""
    max_retries: int = 3
    """Other nodes tried after a failed connect; 0: none."""
    buffer_size: int = 65_536
    """Largest vars block accepted; the format itself ends at 65,535."""
    fallback: tuple[Address, ...] = ()
    """Nodes for unknown keys, after live nodes."""
    node: tuple[FixedNode, ...] = ()
    """Fixed nodes."""
    key_grace: float = 60.0
    """How long a key without nodes is still known (503, not 404)."""
    stale_max: float = 600.0
    """How long the nodes of a silent controller are kept."""
    client_timeout: float = 60.0
    """Silence of the client while its request is incomplete."""
    idle_timeout_http: float = 75.0
    """How long an HTTP client's connection is kept without a request."""
    http_trusted: tuple[str, ...] = LOOPBACK_NETWORKS
    """Networks (CIDR) of proxies that are believed for whom they ask; empty: none but those on unix sockets."""
    http_proxies: tuple[str, ...] = ()
    """Networks (CIDR) of proxies that X-Forwarded-For may name behind the client; empty: its last address counts."""
    http_keep_slashes: bool = False
    """Several slashes in a row stay in PATH_INFO."""
    idle_timeout: float = 3600.0
    """Silence of both sides after an upgrade or in a stream."""
    state_dir: str | None = None
    """Directory of the snapshot.  None: no snapshot."""
    run_dir: str | None = None
    """Directory through which a new router takes over the sockets of the running one.  None: it can't."""
    subscription_secret_file: str | None = None
    """File with the secret of announcers elsewhere.  None: no such announcers."""
    subscription_sign_check: str | None = None
    """``DIGEST:DIR`` of uWSGI's signatures, digest in lower case.  None: not checked."""
    subscription_allow: tuple[str, ...] = LOOPBACK_NETWORKS
    """Networks (CIDR) whose hosts may subscribe unsigned by UDP; empty: none."""
    admin_token_file: str | None = None
    """File with the bearer token for changes by HTTP.  None: only unix sockets and loopback may change anything."""
    drain_timeout: float = 30.0
    """At SIGTERM, how long requests in flight may take to finish; 0: they are cut."""
    log_format: str | None = None
    """``text`` or ``json``.  None: text on a terminal, else json."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    access_log: str | None = None
    """File, or ``-`` for standard output.  None: no access log."""
    otlp: str | None = None
    """URL of a collector that takes spans of requests.  None: there are no spans."""
    trace_sample: float = 0.01
    """Share of the requests without a ``traceparent`` that become spans."""
    request_id: bool = False
    """Give requests that have no X-Request-ID one."""
    error_pages: str | None = None
    """Directory of the pages for the router's own answers.  None: they are text or JSON."""

    wait: float = 0.0
    """How long a request waits for a node of a key that says nothing else, at most 600; 0: not at all."""
    wait_max: int = 1000
    """Requests that may wait for one key in one relay."""
    eject: str = "off"
    """Of keys that say nothing else: ``errors``: nodes are ejected by their answers, too; ``off``: they are not."""

    fallback_on_no_key: bool = True
    """``fallback`` also serves keys without any node (False only in an INI that does not ask for it)."""
    to: tuple[Address, ...] = ()
    """``fastrouter-to``: nodes for every key."""
    base: str | None = None
    """``fastrouter-use-base``: the node of a key is the unix socket with this in front."""
    pattern: str | None = None
    """``fastrouter-use-pattern``: the node of a key is this with ``%s`` replaced."""
    resubscribe: tuple[Address, ...] = ()
    """Other routers that are told of what subscribes here, with our own address."""
    post_buffering: int = 0
    """Read the body before connecting, up to this many bytes in memory; 0: never."""
    mountpoints: int = 0
    """Path elements that belong to the key, at most; 0: as learnt from the keys."""
    dotsplit: bool = False
    """Keys like ``.example.com`` match what is below them."""
    vacuum: bool = False
    """Remove unix sockets and the pid file at the end."""
    uid: int | None = None
    """User to become once the sockets are open.  None: stay."""
    gid: int | None = None
    """Group to become once the sockets are open.  None: stay."""
    pidfile: str | None = None
    """File for the master's process id.  None: none."""
    logto: str | None = None
    """File that takes what would go to standard error.  None: standard error."""

    workers: tuple[WorkerSettings, ...] = ()
    """Workers that this router runs itself; only FILE can say it."""

    def to_json(self) -> dict[str, object]:
        """As an object of JSON types (addresses as text), for ``json.dumps``; ``from_json`` reads it back."""
        return {field.name: _to_plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, plain: Mapping[str, object]) -> Settings:
        """The settings that ``to_json`` wrote.  Not for input of people: nothing is validated."""
        return cls(**{name: _FROM_PLAIN.get(name, _same)(value) for name, value in plain.items()})


def key_defaults(settings: Settings) -> KeyOptions:
    """The router's own settings of keys: each that has an option of its own."""
    names = [setting.name for setting in KEY_SETTINGS if hasattr(settings, setting.name)]
    return KeyOptions(**{name: getattr(settings, name) for name in names})


def _to_plain(value: object) -> object:
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value) | ({"address": str(value.address)} if isinstance(value, FixedNode) else {})
    return value


def _same(value: Any) -> Any:
    return value


def _addresses(value: Any) -> tuple[Address, ...]:
    return tuple(parse_address(text) for text in value)


def _nodes(value: Any) -> tuple[FixedNode, ...]:
    return tuple(
        FixedNode(node["key"], parse_address(node["address"]), NodeOptions(**node["options"])) for node in value
    )


_FROM_PLAIN: dict[str, Callable[[Any], Any]] = {
    "listen": _addresses,
    "listen_http": _addresses,
    "subscription_server": _addresses,
    "admin": lambda text: None if text is None else parse_address(text),
    "admin_read": _addresses,
    "challenge_server": _addresses,
    "challenge_node": _addresses,
    "stats": _addresses,
    "fallback": _addresses,
    "node": _nodes,
    "subscription_allow": tuple,
    "http_trusted": tuple,
    "http_proxies": tuple,
    "to": _addresses,
    "resubscribe": _addresses,
    "workers": lambda rows: tuple(from_plain(row) for row in rows),
}
