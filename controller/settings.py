"""What the controller was told, after every source was read and checked: one frozen object.

Field names are the option names with underscores (docs/reference/controller.md).  Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastroute.router.protocol.address import Address, parse_address

SUBSCRIPTIONS = parse_address("127.0.0.1:3031")
ADMIN = parse_address("127.0.0.1:3034")
NGINX_STATUS = parse_address("127.0.0.1:3035")
LOCAL_ENGINE = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class DockerHost:
    """One Docker Engine.  ``published``: its containers are reached by published ports (``,address=published``)."""

    url: str
    published: bool = False

    @property
    def machine(self) -> str:
        """The host whose published ports are the engine's, as we reach it."""
        return urlsplit(self.url).hostname or "127.0.0.1"

    def __str__(self) -> str:
        return f"{self.url},address=published" if self.published else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """Every setting of ``fastroute-controller``."""

    mode: str = "router"
    """``router``: push subscriptions; ``nginx``: render upstreams."""
    docker_host: tuple[DockerHost, ...] = (DockerHost(LOCAL_ENGINE),)
    """Engines to watch; never empty (DOCKER_HOST when no option says otherwise, else the local socket)."""
    name: str | None = None
    """Who this controller is to the routers.  None: made from the engine's id, prefix and filters."""
    router: tuple[Address, ...] = (SUBSCRIPTIONS,)
    """Subscription addresses, UDP or unix datagram path; names are resolved again and again."""
    subscription_secret_file: str | None = None
    """File with the secret shared with the routers.  None: no HMAC."""
    network: str | None = None
    """Network whose address is used.  None: the networks shared with the router."""
    label_prefix: str = "fastroute"
    """What our labels begin with, without the dot."""
    filter: tuple[str, ...] = ()
    """Label conditions, ``NAME`` or ``NAME=VALUE`` (without ``label=``), that must all hold."""
    exclusive_keys: bool = False
    """True: a key that one compose project serves is refused to others."""
    static: str | None = None
    """YAML file of nodes outside Docker.  None: none."""
    state_dir: str | None = None
    """Directory of what has to be known after a restart: what operators asked for.  None: nothing is kept."""
    resync: float = 30.0
    """Between full comparisons with Docker."""
    heartbeat: float = 5.0
    """Between packets to a router when nothing changes."""
    peers: tuple[Address, ...] = ()
    """In a swarm: the other controllers, asked for what managers alone may read."""
    peers_listen: Address | None = None
    """In a swarm: where others ask.  None: nowhere."""
    zone: str | None = None
    """Where the nodes stand whose labels say nothing of it.  None: nobody says."""
    linger: float = 0.0
    """After SIGTERM, how long to go on."""
    admin: Address | None = ADMIN
    #: The same HTTP, for reading only.
    admin_read: tuple[Address, ...] = ()
    """HTTP: API, metrics, health.  None: turned off."""
    admin_token_file: str | None = None
    """File with the bearer token for changes by HTTP.  None: only unix sockets and loopback may change anything."""
    log_format: str | None = None
    """``text`` or ``json``.  None: text on a terminal, else json."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    nginx_conf_dir: str = "/etc/nginx/fastroute"
    """Directory of the generated files."""
    nginx_template_dir: str | None = None
    """Directory of the user's templates.  None: the built-in ones."""
    nginx_agent: str | None = None
    """Unix socket of the agent beside nginx.  None: no agent."""
    nginx_reload: str = "command:nginx -s reload"
    """``signal:PIDFILE`` or ``command:...``."""
    nginx_test: str = "nginx -t"
    """Command that tests a configuration."""
    nginx_min_interval: float = 1.0
    """Between two reloads, at least."""
    nginx_listen: tuple[str, ...] = ("80",)
    """What the generated servers listen on: ``PORT``, ``IP:PORT`` or ``[v6]:PORT``."""
    nginx_listen_tls: tuple[str, ...] = ()
    """Where nginx listens for HTTPS.  Empty: nowhere."""
    nginx_certificates: str | None = None
    """The folder of certificates, as nginx sees it."""
    nginx_https_port: int = 443
    """The port of HTTPS as clients see it."""
    nginx_version: tuple[int, ...] | None = None
    """Of the nginx that reads the files.  None: the nginx.conf that includes them turns HTTP/2 on."""
    nginx_challenge: Address | None = None
    """Where ACME challenges are answered.  None: nginx does not know them."""
    nginx_status: Address = NGINX_STATUS
    """Where the generated configuration answers its own hash."""
    nginx_trusted_proxies: tuple[str, ...] = ()
    """Networks whose ``X-Forwarded-*`` headers count."""
