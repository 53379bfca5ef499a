"""The controller's options: the contract's table, DOCKER_HOST, and the one line that says what is wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.controller.options import OPTIONS, PROGRAM, parse, resolve_all
from fastroute.controller.settings import ControllerSettings, DockerHost
from fastroute.router.config import options as router_options
from fastroute.router.config.command_line import InfoRequested
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.protocol.address import parse_address

#: The machine may be busy: time is not what these examples are about.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: The contract: option, default.
CONTRACT: dict[str, object] = {
    "mode": "router",
    "state-dir": None,
    "exclusive-keys": False,
    "docker-host": (DockerHost("unix:///var/run/docker.sock"),),
    "name": None,
    "router": (parse_address("127.0.0.1:3031"),),
    "subscription-secret-file": None,
    "network": None,
    "label-prefix": "fastroute",
    "filter": (),
    "static": None,
    "resync": 30,
    "heartbeat": 5,
    "admin": parse_address("127.0.0.1:3034"),
    "admin-read": (),
    "admin-token-file": None,
    "log-format": None,
    "log-level": "info",
    "nginx-conf-dir": "/etc/nginx/fastroute",
    "nginx-template-dir": None,
    "nginx-agent": None,
    "nginx-reload": "command:nginx -s reload",
    "nginx-test": "nginx -t",
    "nginx-min-interval": 1,
    "nginx-listen-tls": (),
    "nginx-certificates": None,
    "nginx-https-port": 443,
    "nginx-version": None,
    "nginx-challenge": None,
    "nginx-listen": ("80",),
    "nginx-status": parse_address("127.0.0.1:3035"),
    "nginx-trusted-proxies": (),
    "peers": (),
    "peers-listen": None,
    "linger": 0,
    "zone": None,
}


def refused(argv: list[str], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(argv, environ or {})
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_options_and_defaults_are_the_contract() -> None:
    assert {name: PROGRAM.default(option) for name, option in PROGRAM.public().items()} == CONTRACT
    assert sorted(option.field for option in OPTIONS) == sorted(field.name for field in fields(ControllerSettings))
    assert parse([], {}) == ControllerSettings()


def test_flags_win_over_variables_and_those_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("router: {listn: 1}\ncontroller: {resync: 1, heartbeat: 1, router: [a:1, b:2]}\n")
    settings = parse(
        [str(file), "--router", "/run/sub.sock"], {"FASTROUTE_HEARTBEAT": "500ms", "FASTROUTE_ROUTER": "c:1"}
    )
    assert (settings.resync, settings.heartbeat) == (1, 0.5)
    assert settings.router == (parse_address("/run/sub.sock"),)


def test_docker_host_is_the_default_of_the_engine_and_no_more() -> None:
    environ = {"DOCKER_HOST": "tcp://socket-proxy:2375"}
    assert parse([], environ).docker_host == (DockerHost("tcp://socket-proxy:2375"),)
    assert resolve_all([], environ)["docker_host"].origin == "DOCKER_HOST"
    assert (
        parse(["--docker-host", "unix:///x.sock"], {"DOCKER_HOST": "nonsense"}).docker_host[0].url == "unix:///x.sock"
    )
    assert parse([], {"DOCKER_HOST": ""}).docker_host == (DockerHost("unix:///var/run/docker.sock"),)
    assert "DOCKER_HOST: 'nonsense': a Docker URL expected" in refused([], {"DOCKER_HOST": "nonsense"})


def test_several_engines_are_read_from_flags_and_from_one_variable() -> None:
    hosts = (DockerHost("ssh://me@a:22", published=True), DockerHost("https://b:2376"))
    for argv, environ in (
        (["--docker-host", "ssh://me@a:22,address=published", "--docker-host", "https://b:2376"], {}),
        ([], {"FASTROUTE_DOCKER_HOST": "ssh://me@a:22,address=published,https://b:2376"}),
    ):
        assert resolve_all(argv, environ)["docker_host"].value == hosts


def test_filters_lose_their_kind() -> None:
    assert parse(["--filter", "label=a", "--filter=label=b=c=d"], {}).filter == ("a", "b=c=d")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--docker-hots", "x"], "fastroute-controller: '--docker-hots': unknown option; did you mean --docker-host?"),
        (["--mode", "ngnix"], "--mode: 'ngnix': one of router, nginx expected; did you mean nginx?"),
        (["--docker-host", "tcp://"], "'tcp://': a Docker URL expected"),
        (["--docker-host", "tcp://docker.example"], "its port is missing: tcp://host:port expected"),
        (["--docker-host", "tcp://a:port"], "its port is no number from 0 to 65535"),
        (["--docker-host", "tcp://a:1,address=public"], "URL or URL,address=published expected"),
        (["--name", "my controller"], "1 to 64 of A-Z a-z 0-9 . _ : @ - expected"),
        (["--name", "operator"], "operator and static are taken"),
        (["--router", ":3031"], "an address to connect to expected"),
        (["--router", "@abstract"], "host:port (UDP) or a socket path expected"),
        (["--router", "a:1", "--router", "a:1"], "--router: a:1 is given twice"),
        (["--network", "a b"], "the name of a Docker network expected"),
        (["--label-prefix", "fastroute."], "a prefix of labels expected, without a dot at its end"),
        (["--filter", "name=x"], "label=NAME or label=NAME=VALUE expected"),
        (["--static", "/nonexistent.yaml"], "No such file or directory"),
        (["--resync", "0"], "a time above 0 expected"),
        (["--nginx-reload", "restart"], "signal:PIDFILE or command:COMMAND expected"),
        (["--nginx-reload", "command:"], "a command expected"),
        (["--nginx-test", "nginx 't"], "a command expected: No closing quotation"),
        (["--nginx-listen", "foo:80"], "PORT, IP:PORT or [v6]:PORT expected"),
        (["--nginx-status", "0.0.0.0:1"], "an address on loopback expected"),
    ],
)
def test_a_wrong_command_line_is_explained(argv: list[str], said: str) -> None:
    assert said in refused(argv)


def test_a_uwsgi_ini_is_no_file_for_the_controller(tmp_path: Path) -> None:
    file = tmp_path / "router.ini"
    file.write_text("[uwsgi]\nfastrouter = :1\n")
    assert refused([str(file)]).startswith(f"{file}:2: no valid YAML")


def test_each_program_leaves_the_others_variables_alone() -> None:
    environ = {option.variable: "?" for option in router_options.PROGRAM.public().values()}
    ours = {option.variable for option in PROGRAM.public().values()}
    assert parse([], {name: value for name, value in environ.items() if name not in ours}) == ControllerSettings()
    others = ours - set(environ)
    assert router_options.parse([], dict.fromkeys(others, "?")) == router_options.Settings()  # type: ignore[attr-defined]


@UNTIMED
@given(st.lists(st.text() | st.sampled_from([option.flag for option in OPTIONS]), max_size=6), st.text())
def test_whatever_is_said_the_outcome_is_settings_an_answer_or_one_line(argv: list[str], host: str) -> None:
    said = "fine"
    try:
        parse(argv, {"DOCKER_HOST": host})
    except ConfigurationError as error:
        said = str(error)
    except InfoRequested:
        pass
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nginx-listen-tls", "443"), "--nginx-certificates is expected with it"),
        (("--nginx-certificates", "/x$y"), "an absolute path of letters"),
        (("--nginx-certificates", "certs"), "an absolute path of letters"),
        (("--nginx-version", "latest"), "a version expected (like 1.26.3)"),
        (("--nginx-https-port", "0"), "from 1 to 65535"),
    ],
)
def test_https_in_nginx_mode_is_checked_before_anything_is_written(words: tuple[str, ...], said: str) -> None:
    assert said in refused(list(words))
