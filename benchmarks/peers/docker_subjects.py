"""What watches Docker: fastroute in its two modes, Traefik and EasyHAProxy, all as processes beside the engine.

All of them watch the same engine by the same socket and stand before the same containers, which carry everybody's
labels.  ``tuned`` are the settings that a project's documentation has against lost requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.chains import nginx_before_router, plain_nginx
from benchmarks.peers.easyhaproxy import SAID, easyhaproxy
from benchmarks.peers.others import program_of
from benchmarks.programs import accepts, free_port, running, wait_until
from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.user_templates import built_in

NETWORK, WORKER_PORT = "peers", 8000
#: Seconds until a subject with many keys listens.
CONFIGURED = 90.0
#: EasyHAProxy listens where labels say; the network namespace is ours.
EASY_PORTS = {"easyhaproxy": 18101, "easytuned": 18102}


@dataclass(frozen=True, slots=True)
class Subject:
    """One column of the tables: where its clients go, and what was set."""

    name: str
    domain: str
    port: int
    settings: str
    #: The processes between client and containers, and those that watch Docker for them; their children count, too.
    roots: tuple[int, ...] = ()
    #: It knows three addresses and nothing of Docker.
    fixed: bool = False

    def host(self, key: str) -> str:
        """The host name of a key with this subject."""
        return f"{key}.{self.domain}"


Way = Callable[[], contextlib.AbstractContextManager[list[Subject]]]


def _fastroute_labels(key: str) -> dict[str, str]:
    return {
        "fastroute.port": str(WORKER_PORT), "fastroute.probe": "/",
        "fastroute.uwsgi.key": f"{key}.uwsgi.test",
        "fastroute.http.key": f"{key}.http.test", "fastroute.http.protocol": "http",
    }  # fmt: skip


def traefik_labels(key: str, name: str) -> dict[str, str]:
    """One router and one service, for the Traefik whose entry point is ``name``."""
    router, service = f"traefik.http.routers.{key}-{name}", f"traefik.http.services.{key}-{name}.loadbalancer"
    return {
        f"{router}.rule": f"Host(`{key}.{name}.test`)", f"{router}.entrypoints": name,
        f"{router}.service": f"{key}-{name}", f"{service}.server.port": str(WORKER_PORT),
        "traefik.enable": "true",
    }  # fmt: skip


def _traefik_tuning(key: str) -> dict[str, str]:
    again, service = f"traefik.http.middlewares.{key}-again.retry", f"traefik.http.services.{key}-tuned.loadbalancer"
    return {
        f"traefik.http.routers.{key}-tuned.middlewares": f"{key}-again",
        f"{again}.attempts": "4", f"{again}.initialinterval": "100ms",
        f"{service}.healthcheck.path": "/health", f"{service}.healthcheck.interval": "1s",
        f"{service}.healthcheck.timeout": "1s",
        f"{service}.passivehealthcheck.failurewindow": "10s", f"{service}.passivehealthcheck.maxfailedattempts": "3",
    }  # fmt: skip


def easy_labels(key: str, prefix: str) -> dict[str, str]:
    """For the EasyHAProxy with this label prefix."""
    host, port = f"{key}.{prefix}.test", str(EASY_PORTS[prefix])
    return {f"{prefix}.http.host": host, f"{prefix}.http.port": port, f"{prefix}.http.localport": str(WORKER_PORT)}


def all_labels(key: str) -> dict[str, str]:
    """Everybody's labels, for a container of this key."""
    return {
        **_fastroute_labels(key),
        **traefik_labels(key, "defaults"), **traefik_labels(key, "tuned"), **_traefik_tuning(key),
        **easy_labels(key, "easyhaproxy"), **easy_labels(key, "easytuned"),
    }  # fmt: skip


@contextlib.contextmanager
def _router_mode(folder: Path, programs: Path, docker: str) -> Iterator[list[Subject]]:
    """Router, controller and nginx as the compose stack sets them."""
    home = folder / "router-mode"
    home.mkdir()
    front, subscriptions = home / "front.sock", home / "subscriptions.sock"
    router = [str(programs / "fastroute-router"), "--listen", str(front), "--subscription-server", str(subscriptions),
              "--admin", "none", "--log-level", "warning", "--wait", "15", "--eject", "errors"]  # fmt: skip
    controller = [str(programs / "fastroute-controller"), "--docker-host", docker, "--router", str(subscriptions),
                  "--network", NETWORK, "--admin", "none", "--log-level", "warning"]  # fmt: skip
    with running(router, folder) as routing:
        wait_until(front.exists, "fastroute-router listens")
        with (
            running(controller, folder) as watching,
            nginx_before_router(folder, "uwsgi", str(front)) as (nginx, port),
        ):
            roots = (nginx, routing.pid, watching.pid)
            said = "router mode: nginx, router (--wait 15 --eject errors), controller; labels: probe=/"
            yield [
                Subject("fastroute, uwsgi workers", "uwsgi.test", port, said, roots),
                Subject("fastroute, HTTP workers", "http.test", port, f"{said}, protocol=http", roots),
            ]


@contextlib.contextmanager
def _nginx_mode(folder: Path, programs: Path, docker: str) -> Iterator[list[Subject]]:
    """nginx with the controller's own upstreams."""
    home, port = folder / "nginx-mode", free_port()
    (home / "conf").mkdir(parents=True)
    text = main_file(MainFileOptions(conf_dir=str(home / "conf")), built_in())
    controller = [str(programs / "fastroute-controller"), "--mode", "nginx", "--docker-host", docker, "--network",
                  NETWORK, "--admin", "none", "--log-level", "warning", "--nginx-conf-dir", str(home / "conf"),
                  "--nginx-test", f"nginx -t -c {home}/nginx.conf", "--nginx-reload", f"signal:{home}/pid",
                  "--nginx-listen", f"127.0.0.1:{port}",
                  "--nginx-status", f"127.0.0.1:{free_port()}"]  # fmt: skip
    with plain_nginx(folder, home, text, reloads=True) as nginx:
        wait_until((home / "pid").exists, "nginx runs")
        with running(controller, folder) as watching:
            wait_until(lambda: accepts(port), "nginx has its configuration", CONFIGURED)
            said = "nginx mode: nginx, controller; labels: probe=/, protocol=http"
            yield [Subject("fastroute, nginx mode", "http.test", port, said, (nginx.pid, watching.pid))]


@contextlib.contextmanager
def _traefik(folder: Path, docker: str, name: str, more: list[str], said: str) -> Iterator[list[Subject]]:
    port = free_port()
    command = [program_of("traefik"), f"--entryPoints.{name}.address=127.0.0.1:{port}",
               f"--providers.docker.endpoint={docker}", "--providers.docker.exposedByDefault=false",
               f"--providers.docker.network={NETWORK}", "--global.checkNewVersion=false",
               "--global.sendAnonymousUsage=false", "--log.level=ERROR", *more]  # fmt: skip
    with running(command, folder) as process:
        wait_until(lambda: accepts(port), "Traefik listens")
        yield [Subject(f"Traefik, {name}", f"{name}.test", port, said, (process.pid,))]


@contextlib.contextmanager
def _easyhaproxy(folder: Path, docker: str, prefix: str, refresh: int, name: str) -> Iterator[list[Subject]]:
    port = EASY_PORTS[prefix]
    words = ("--discover", "docker", "--label-prefix", prefix, "--refresh-conf", str(refresh))
    with easyhaproxy(folder / prefix, port, *words, environment={"DOCKER_HOST": docker}) as pid:
        said = f"looks every {refresh} s (EASYHAPROXY_REFRESH_CONF); {SAID}"
        yield [Subject(name, f"{prefix}.test", port, said, (pid,))]


def ways(folder: Path, programs: Path, docker: str) -> dict[str, Way]:
    """How each is started."""
    defaults = "Docker provider, nothing else set"
    tuned = ("providersThrottleDuration=100ms, dialTimeout=1s; labels: retry attempts=4 initialInterval=100ms, "
             "healthCheck each 1 s, passiveHealthCheck 3 failures in 10 s")  # fmt: skip
    quick = ["--providers.providersThrottleDuration=100ms", "--serversTransport.forwardingTimeouts.dialTimeout=1s"]
    return {
        "router": lambda: _router_mode(folder, programs, docker),
        "nginx": lambda: _nginx_mode(folder, programs, docker),
        "traefik": lambda: _traefik(folder, docker, "defaults", [], defaults),
        "traefik-tuned": lambda: _traefik(folder, docker, "tuned", quick, tuned),
        "easyhaproxy": lambda: _easyhaproxy(folder, docker, "easyhaproxy", 10, "EasyHAProxy, defaults"),
        "easyhaproxy-tuned": lambda: _easyhaproxy(folder, docker, "easytuned", 1, "EasyHAProxy, refresh 1 s"),
    }


@contextlib.contextmanager
def docker_subjects(folder: Path, programs: Path, docker: str) -> Iterator[list[Subject]]:
    """All of them, watching the engine at ``docker``; ``programs`` is where ours are."""
    with contextlib.ExitStack() as stack:
        yield [subject for way in ways(folder, programs, docker).values() for subject in stack.enter_context(way())]
