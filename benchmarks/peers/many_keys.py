"""HAProxy, Envoy and Caddy with many keys in their files, as their documentation shows it for many hosts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.fake_engine import address
from benchmarks.peers.docker_subjects import WORKER_PORT, Subject
from benchmarks.peers.others import CADDY_GLOBAL, HAPROXY_COMMON, PEERS, Peer, envoy_listener, program_of
from benchmarks.programs import accepts, free_port, running, wait_until

DOMAIN = "file.test"


def _haproxy(home: Path, port: int, count: int) -> list[str]:
    """A backend a host, found by a map."""
    (home / "hosts.map").write_text("".join(f"c{number}.{DOMAIN} c{number}\n" for number in range(count)))
    backends = "".join(
        f"backend c{number}\n    server one {address(number)}:{WORKER_PORT}\n" for number in range(count)
    )
    front = f"frontend web\n    bind 127.0.0.1:{port}\n    use_backend %[req.hdr(host),lower,map({home}/hosts.map)]\n"
    (home / "haproxy.cfg").write_text(HAPROXY_COMMON + front + backends)
    return ["-db", "-f", "haproxy.cfg"]


def _caddy(home: Path, port: int, count: int) -> list[str]:
    """A site block a host."""
    sites = "".join(
        f"http://c{number}.{DOMAIN}:{port} {{\n bind 127.0.0.1\n reverse_proxy {address(number)}:{WORKER_PORT}\n}}\n"
        for number in range(count)
    )
    (home / "Caddyfile").write_text(CADDY_GLOBAL + sites)
    return ["run", "--adapter", "caddyfile", "--config", "Caddyfile"]


def _envoy(home: Path, port: int, count: int) -> list[str]:
    """A virtual host and a static cluster a host."""
    hosts: list[dict[str, object]] = [
        {"name": f"c{number}", "domains": [f"c{number}.{DOMAIN}"],
         "routes": [{"match": {"prefix": "/"}, "route": {"cluster": f"c{number}"}}]}
        for number in range(count)
    ]  # fmt: skip
    clusters = [
        {"name": f"c{number}", "type": "STATIC", "load_assignment": {"cluster_name": f"c{number}", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": address(number), "port_value": WORKER_PORT}}}}]}]}}
        for number in range(count)
    ]  # fmt: skip
    resources = {"static_resources": {"listeners": [envoy_listener(port, hosts)], "clusters": clusters}}
    (home / "envoy.json").write_text(json.dumps(resources))
    return ["-c", "envoy.json", "-l", "error", "--use-dynamic-base-id"]


FILES: dict[str, Callable[[Path, int, int], list[str]]] = {"HAProxy": _haproxy, "Envoy": _envoy, "Caddy": _caddy}


@contextlib.contextmanager
def with_keys(folder: Path, peer: Peer, count: int) -> Iterator[list[Subject]]:
    """The proxy with ``count`` hosts, each of which has a loopback address of the same worker."""
    port, home = free_port(), folder / f"{peer.program}-{free_port()}"
    home.mkdir()
    words = FILES[peer.name](home, port, count)
    command = ["env", f"--chdir={home}", f"HOME={home}", program_of(peer.program), *words]
    with running(command, folder) as process:
        wait_until(partial(accepts, port), f"{peer.name} listens", 120)
        yield [Subject(peer.name, DOMAIN, port, "configuration file", (process.pid,))]


def file_ways(folder: Path, count: int) -> dict[str, Callable[[], contextlib.AbstractContextManager[list[Subject]]]]:
    """How each is started."""
    return {peer.name: partial(with_keys, folder, peer, count) for peer in PEERS if peer.name in FILES}
