"""HAProxy, Envoy and Caddy before three containers whose addresses stand in their files: with the settings that their
documentation has against lost requests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peers.docker_subjects import WORKER_PORT, Subject
from benchmarks.peers.others import CADDY_GLOBAL, HAPROXY_HEAD, PEERS, Peer, envoy_listener, program_of
from benchmarks.programs import accepts, free_port, running, wait_until

#: A POST is tried again only where nothing of it was sent: HAProxy's documentation says how.
HAPROXY = (
    HAPROXY_HEAD
    + """\
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
frontend web
    bind 127.0.0.1:{port}
    http-request disable-l7-retry if METH_POST
    default_backend app
backend app
    balance roundrobin
    option httpchk GET /health
    default-server check inter 1s fall 2 rise 1 observe layer7 error-limit 3 on-error mark-down
{servers}
"""
)
CADDY = """
http://:{port} {{
 bind 127.0.0.1
 reverse_proxy {servers} {{
  lb_policy round_robin
  lb_try_duration 5s
  lb_try_interval 100ms
  fail_duration 10s
  max_fails 3
  unhealthy_status 5xx
  health_uri /health
  health_interval 1s
  health_timeout 1s
  transport http {{
   dial_timeout 1s
  }}
 }}
}}
"""


def _haproxy(home: Path, port: int, addresses: Sequence[str]) -> list[str]:
    servers = "\n".join(f"    server s{number} {address}:{WORKER_PORT}" for number, address in enumerate(addresses))
    (home / "haproxy.cfg").write_text(HAPROXY.format(port=port, servers=servers))
    return ["-db", "-f", "haproxy.cfg"]


def _caddy(home: Path, port: int, addresses: Sequence[str]) -> list[str]:
    servers = " ".join(f"{address}:{WORKER_PORT}" for address in addresses)
    (home / "Caddyfile").write_text(CADDY_GLOBAL + CADDY.format(port=port, servers=servers))
    return ["run", "--adapter", "caddyfile", "--config", "Caddyfile"]


def _envoy_routes() -> list[dict[str, object]]:
    """GET is tried again after anything, the others where nothing was sent."""
    again = {"num_retries": 3, "host_selection_retry_max_attempts": 3, "retry_host_predicate": [{
        "name": "previous", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts."
                                                      "v3.PreviousHostsPredicate"}}]}  # fmt: skip
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    return [
        {"match": {"prefix": "/", "headers": [get]},
         "route": {"cluster": "app", "retry_policy": {**again, "retry_on": "5xx,connect-failure,reset"}}},
        {"match": {"prefix": "/"},
         "route": {"cluster": "app", "retry_policy": {**again, "retry_on": "connect-failure,reset-before-request"}}},
    ]  # fmt: skip


def _envoy(home: Path, port: int, addresses: Sequence[str]) -> list[str]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": WORKER_PORT}}}}
        for address in addresses
    ]
    cluster = {
        "name": "app", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]},
        # Three retries at once is what it allows otherwise.
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
        "outlier_detection": {"consecutive_5xx": 3, "interval": "1s", "base_ejection_time": "5s",
                              "max_ejection_percent": 67},
        "health_checks": [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 2, "healthy_threshold": 1,
                           "no_traffic_interval": "1s", "http_health_check": {"path": "/health"}}],
    }  # fmt: skip
    hosts: list[dict[str, object]] = [{"name": "all", "domains": ["*"], "routes": _envoy_routes()}]
    resources = {"static_resources": {"listeners": [envoy_listener(port, hosts)], "clusters": [cluster]}}
    (home / "envoy.json").write_text(json.dumps(resources))
    return ["-c", "envoy.json", "-l", "error", "--use-dynamic-base-id"]


_START: dict[str, Callable[[Path, int, Sequence[str]], list[str]]] = {
    "HAProxy": _haproxy, "Envoy": _envoy, "Caddy": _caddy,
}  # fmt: skip
_SETTINGS = {
    "HAProxy": "option redispatch 1, retries 3, retry-on all-retryable-errors (not for POST), httpchk each 1 s, "
    "observe layer7 error-limit 3 on-error mark-down",
    "Envoy": "retry_policy 3 on other hosts (5xx for GET, else what was not sent), max_retries 1000, health checks "
    "each 1 s, "
    "outlier_detection consecutive_5xx 3 for 5 s",
    "Caddy": "lb_try_duration 5s, fail_duration 10s, max_fails 3, unhealthy_status 5xx, health_uri each 1 s, "
    "dial_timeout 1s",
}


@contextlib.contextmanager
def _fixed(folder: Path, peer: Peer, addresses: Sequence[str]) -> Iterator[Subject]:
    port, home = free_port(), folder / f"fixed-{peer.program}"
    home.mkdir()
    words = _START[peer.name](home, port, addresses)
    command = ["env", f"--chdir={home}", f"HOME={home}", program_of(peer.program), *words]
    with running(command, folder) as process:
        wait_until(partial(accepts, port), f"{peer.name} listens")
        yield Subject(peer.name, "fixed.test", port, _SETTINGS[peer.name], (process.pid,), fixed=True)


@contextlib.contextmanager
def fixed_subjects(folder: Path, addresses: Sequence[str]) -> Iterator[list[Subject]]:
    """All three, before the containers at these addresses."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_fixed(folder, peer, addresses)) for peer in PEERS if peer.name in _START]
