"""The router's options: every source, their order, and the one line that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastroute
from fastroute.router.config.command_line import InfoRequested
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.options import ALGORITHMS, OPTIONS, PROGRAM, parse, resolve_all  # type: ignore[attr-defined]
from fastroute.router.config.settings import FixedNode, Settings
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.node_options import NodeOptions

#: The machine may be busy: time is not what these examples are about.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: The contract: option, default.
CONTRACT: dict[str, object] = {
    "listen": (parse_address("127.0.0.1:3031"),),
    "listen-http": (),
    "idle-timeout-http": 75,
    "http-trusted": ("127.0.0.0/8", "::1/128"),
    "http-proxies": (),
    "http-keep-slashes": False,
    "listen-mode": 0o660,
    "subscription-server": (parse_address("127.0.0.1:3031"),),
    "admin": parse_address("127.0.0.1:3033"),
    "stats": (),
    "processes": 1,
    "cheap": False,
    "algorithm": "wrr",
    "tolerance": 25,
    "connect-timeout": 3,
    "timeout": 60,
    "max-retries": 3,
    "buffer-size": 65536,
    "fallback": (),
    "node": (),
    "key-grace": 60,
    "stale-max": 600,
    "client-timeout": 60,
    "idle-timeout": 3600,
    "state-dir": None,
    "run-dir": None,
    "subscription-secret-file": None,
    "subscription-sign-check": None,
    "subscription-allow": ("127.0.0.0/8", "::1/128"),
    "admin-token-file": None,
    "drain-timeout": 30,
    "replace-sockets": False,
    "zone": None,
    "log-format": None,
    "log-level": "info",
    "access-log": None,
    "request-id": False,
    "wait": 0.0,
    "wait-max": 1000,
    "eject": "off",
    "otlp": None,
    "trace-sample": 0.01,
    "error-pages": None,
    "challenge-server": (),
    "challenge-node": (),
    "admin-read": (),
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        file = tmp_path / "router.yaml"
        file.write_text(text)
        return str(file)

    return write


def refused(argv: list[str], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(argv, environ or {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_options_and_defaults_are_the_contract() -> None:
    assert {name: PROGRAM.default(option) for name, option in PROGRAM.public().items()} == CONTRACT


def test_every_option_has_a_field_and_every_field_an_option() -> None:
    # Workers are a section of FILE.
    named = sorted([*(option.field for option in OPTIONS), "workers"])
    assert named == sorted(field.name for field in fields(Settings))


def test_nothing_said_means_the_defaults() -> None:
    assert parse([], {}) == Settings()


def test_flags_win_over_variables_and_those_over_the_file(written: Callable[[str], str]) -> None:
    file = written("router: {tolerance: 1, timeout: 1, connect-timeout: 1}")
    environ = {"FASTROUTE_TOLERANCE": "2", "FASTROUTE_TIMEOUT": "2"}
    settings = parse([file, "--tolerance", "3"], environ)
    assert (settings.tolerance, settings.timeout, settings.connect_timeout, settings.key_grace) == (3, 2, 1, 60)


def test_a_list_of_a_higher_source_replaces_that_of_a_lower_one(written: Callable[[str], str]) -> None:
    file = written("router: {listen: [127.0.0.1:1, 127.0.0.1:2]}")
    assert parse([file, "--listen", ":3", "--listen=[::1]:4"], {}).listen == (
        parse_address(":3"),
        parse_address("[::1]:4"),
    )
    environ = {"FASTROUTE_LISTEN": "/run/a.sock, @b,"}
    assert parse([file], environ).listen == (parse_address("/run/a.sock"), parse_address("@b"))


def test_where_each_value_comes_from_is_known(written: Callable[[str], str]) -> None:
    values = resolve_all([written("router:\n  timeout: 1\n"), "--cheap"], {"FASTROUTE_TOLERANCE": "2"})
    assert values["timeout"].origin.endswith("router.yaml:2: timeout")
    assert values["cheap"].origin == "fastroute-router: --cheap"
    assert values["tolerance"].origin == "FASTROUTE_TOLERANCE"
    assert values["admin"].origin == "default"


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2), ("0.5", 0.5), ("500ms", 0.5), ("2s", 2), ("5m", 300), ("1h", 3600)]
)
def test_times_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert parse(["--timeout", text], {}).timeout == seconds
    assert parse([], {"FASTROUTE_TIMEOUT": text}).timeout == seconds


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", "TRUE"])
def test_switches_are_turned_on_by_variables(text: str) -> None:
    assert parse([], {"FASTROUTE_CHEAP": text}).cheap


@pytest.mark.parametrize("text", ["false", "0", "no", "off"])
def test_switches_are_turned_off_over_the_file(text: str, written: Callable[[str], str]) -> None:
    file = written("router: {cheap: true}")
    assert parse([file], {}).cheap
    assert not parse([file], {"FASTROUTE_CHEAP": text}).cheap
    assert not parse([file, "--no-cheap"], {}).cheap


def test_an_empty_variable_is_an_unset_one() -> None:
    assert parse([], {"FASTROUTE_LISTEN": "", "FASTROUTE_TIMEOUT": " "}) == Settings()


def test_none_turns_things_off() -> None:
    settings = parse(["--admin", "none", "--subscription-server", "none", "--subscription-allow", "none"], {})
    assert (settings.admin, settings.subscription_server, settings.subscription_allow) == (None, (), ())


@pytest.mark.parametrize("text", ["0660", "660", "0o660"])
def test_the_mode_is_octal_also_in_yaml(text: str, written: Callable[[str], str]) -> None:
    assert parse(["--listen-mode", text], {}).listen_mode == 0o660
    assert parse([written(f"router: {{listen-mode: {text}}}")], {}).listen_mode == 0o660


def test_fixed_nodes_have_attributes_also_in_a_comma_separated_variable() -> None:
    nodes = (
        FixedNode("foo.com", parse_address("127.0.0.1:1"), NodeOptions(weight=2, backup=1)),
        FixedNode("bar.com", parse_address("/run/bar.sock"), NodeOptions(protocol="http")),
    )
    words = ["--node", "Foo.com.=127.0.0.1:1,weight=2,backup=1", "--node", "bar.com=/run/bar.sock,protocol=http"]
    assert parse(words, {}).node == nodes
    environ = {"FASTROUTE_NODE": "foo.com=127.0.0.1:1, weight=2,backup=1,bar.com=/run/bar.sock, protocol=http"}
    assert parse([], environ).node == nodes


def test_variables_of_the_other_programs_and_of_strangers_are_left_alone() -> None:
    environ = {
        "FASTROUTE_ROUTER_URL": "http://x",
        "FASTROUTE_HTTP_PORT": "8080",
        "FASTROUTE_NETWORK": "fastroute",
        "FASTROUTE_NAME": "x",
        "FASTROUTE_SERVICE_HOST": "10.0.0.1",
        "FASTROUTE_PORT": "tcp://10.0.0.1:3031",
        "FASTROUTE_PORT_3031_TCP_ADDR": "10.0.0.1",
    }
    assert parse([], environ) == Settings()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--listn", "x"], "fastroute-router: '--listn': unknown option; did you mean --listen?"),
        (["-x"], "fastroute-router: '-x': unknown option"),
        (["--no-timeout"], "fastroute-router: '--no-timeout': unknown option"),
        (["--listen"], "fastroute-router: --listen: a value expected (--listen ADDR)"),
        (["--listen", "--cheap"], "fastroute-router: --listen: a value expected (--listen ADDR)"),
        (["--listen", "none"], "'none' is no address"),
        (["--listen", "127.0.0.1:99999"], "port '99999' is no number from 0 to 65535"),
        (["--listen", "::1:2"], "an IPv6 address needs brackets"),
        (["--listen", ":1", "--listen", ":1"], ":1 is given twice"),
        (["--admin", "127.0.0.1:3031"], "--admin: 127.0.0.1:3031 is taken by listen"),
        (["--listen", "127.0.0.1:3033"], "--listen: 127.0.0.1:3033 is taken by admin"),
        (["--stats", "/run/a", "--subscription-server", "/run/a"], "--stats: /run/a is taken by subscription-server"),
        (["--processes", "0"], "--processes: '0': a whole number from 1 to 256 expected"),
        (["--timeout", "0"], "--timeout: '0': a time above 0 expected"),
        (["--timeout", "-1"], "--timeout: '-1': a time expected"),
        (["--timeout", "nan"], "--timeout: 'nan': a time expected"),
        (["--timeout", "5 parsecs"], "a time expected, in seconds or as 500ms, 2s, 5m"),
        (["--cheap=maybe"], "--cheap: 'maybe': true or false expected"),
        (["--algorithm", "lcr"], "one of wrr, lrc, wlrc, iphash, random2 expected; did you mean lrc?"),
        (["--listen-mode", "999"], "permissions in octal expected"),
        (["--node", "foo.com"], "KEY=ADDR[,weight=N] expected"),
        (["--node", "foo com=127.0.0.1:1"], "is no key"),
        (["--node", "foo.com=:1"], "an address to connect to expected"),
        (["--node", "foo.com=a:1,wieght=2"], "'wieght': unknown attribute; did you mean weight?"),
        (["--node", "foo.com=a:1,weight=0"], "weight: '0': a whole number from 1 to 65535 expected"),
        (["--subscription-allow", "10.0.0.1/8"], "did you mean 10.0.0.0/8?"),
        (["--subscription-allow", "elsewhere"], "a network expected"),
        (["--admin-token-file", "/nonexistent/token"], "No such file or directory"),
        (["--subscription-sign-check", "sha0:/tmp"], "DIGEST:DIR expected"),
        (["a.yaml", "b.yaml"], "'b.yaml': only one FILE expected"),
        (["/nonexistent/router.yaml"], "/nonexistent/router.yaml: cannot be read: No such file or directory"),
        (["/tmp"], "/tmp: cannot be read: Is a directory"),
        (["--listen", "a\nb:1"], r"'a\nb'"),
    ],
)
def test_a_wrong_command_line_is_explained(argv: list[str], said: str) -> None:
    assert said in refused(argv)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"FASTROUTE_LISTN": "x"}, "FASTROUTE_LISTN: unknown variable; did you mean FASTROUTE_LISTEN?"),
        ({"FASTROUTE_CHEAP": "maybe"}, "FASTROUTE_CHEAP: 'maybe': true or false expected"),
        ({"FASTROUTE_LISTEN": "127.0.0.1:1,nonsense"}, "FASTROUTE_LISTEN: 'nonsense' is no address"),
    ],
)
def test_a_wrong_variable_is_explained(environ: dict[str, str], said: str) -> None:
    assert said in refused([], environ)


def test_a_secret_that_is_none_is_said_before_anything_opens() -> None:
    said = refused(["--subscription-secret-file=/dev/null"])
    assert said.endswith("--subscription-secret-file: '/dev/null' is empty: a secret of at least 16 bytes expected")


def test_a_wrong_file_stays_wrong_when_a_flag_overrides_it(written: Callable[[str], str]) -> None:
    assert "router.yaml:1: timeout: 'x': a time expected" in refused(
        [written("router: {timeout: x}"), "--timeout", "1"]
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_option_and_its_default(flag: str) -> None:
    with pytest.raises(InfoRequested) as caught:
        parse([flag, "--nonsense"], {})
    text = str(caught.value)
    assert all(f"--{name}" in text for name in CONTRACT)
    assert "127.0.0.1:3033" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_the_distributions(flag: str) -> None:
    with pytest.raises(InfoRequested, match=rf"^fastroute-router {fastroute.__version__}\n$"):
        parse([flag], {})


ADDRESSES = st.sampled_from(["127.0.0.1:1", ":2", "[::1]:3", "localhost:4", "/run/x.sock", "@x", "fd://5"]).map(
    parse_address
)
OPTIONS_OF_NODES = st.builds(NodeOptions, weight=st.integers(1, 9))
NODES = st.builds(FixedNode, st.sampled_from(["a.com", "*.b.com/c"]), ADDRESSES, OPTIONS_OF_NODES)
TYPES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ["listen", "subscription_server", "stats", "fallback", "to", "resubscribe"], st.lists(ADDRESSES).map(tuple)
    ),
    "admin": st.none() | ADDRESSES,
    "node": st.lists(NODES).map(tuple),
    "subscription_allow": st.sampled_from([(), ("10.0.0.0/8", "::1/128")]),
    "algorithm": st.sampled_from(ALGORITHMS),
    "tolerance": st.floats(0, 1e6),
    "processes": st.integers(1, 256),
    "cheap": st.booleans(),
    "state_dir": st.none() | st.text(),
}


@UNTIMED
@given(st.fixed_dictionaries({}, optional=TYPES))
def test_settings_survive_json(values: dict[str, Any]) -> None:
    settings = Settings(**values)
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def complaint(argv: list[str], environ: dict[str, str]) -> str:
    """What ``parse`` says about a wrong configuration, ``fine`` otherwise; anything else it raises goes on."""
    try:
        parse(argv, environ)
    except ConfigurationError as error:
        return str(error)
    except InfoRequested:
        pass
    return "fine"


@UNTIMED
@given(st.lists(st.text() | st.sampled_from([option.flag for option in OPTIONS] + ["=", "--", "-h"]), max_size=6))
def test_whatever_the_command_line_the_outcome_is_settings_an_answer_or_one_line(argv: list[str]) -> None:
    assert len(complaint(argv, {}).splitlines()) == 1


@UNTIMED
@given(
    st.dictionaries(st.sampled_from([option.variable for option in PROGRAM.public().values()]), st.text(), max_size=3)
)
def test_whatever_the_variables_the_outcome_is_settings_or_one_line(environ: dict[str, str]) -> None:
    assert len(complaint([], environ).splitlines()) == 1
