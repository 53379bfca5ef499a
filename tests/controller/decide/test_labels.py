"""What labels ask for, and what people are told when they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.controller.decide.labels import RouteSpec, is_labelled, is_router, parse_labels
from fastroute.router.protocol.node_options import NodeOptions


def parse(prefix: str = "fastroute", exposed: tuple[int, ...] = (8000,), **labels: str):
    """``parse(key="foo.com", web__port="1")`` are fastroute.key and fastroute.web.port."""
    full = {f"{prefix}.{name.replace('__', '.')}": value for name, value in labels.items()}
    return parse_labels(full, exposed, prefix)


def test_a_key_alone_routes_to_the_only_exposed_port_with_the_defaults() -> None:
    assert parse(key="Foo.COM").routes == (RouteSpec("", ("foo.com",), 8000),)


def test_every_label_has_its_place() -> None:
    labels = parse(
        key="foo.com, *.foo.com,,foo.com/api ",
        port="9000",
        network="back",
        weight="0",
        backup="2",
        algorithm="lrc",
        modifier1="5",
        modifier2="6",
        health="ignore",
        protocol="http",
        probe="/up?x=1",
        enable="yes",
    )
    keys = ("foo.com", "*.foo.com", "foo.com/api")
    options = NodeOptions(weight=0, backup=2, algorithm="lrc", modifier1=5, modifier2=6, protocol="http")
    expected = RouteSpec("", keys, 9000, "back", options, "ignore", "/up?x=1")
    assert labels.routes == (expected,)
    assert labels.problems == ()


def test_named_routes_stand_beside_the_unnamed_one_and_take_from_it_what_they_do_not_say() -> None:
    labels = parse(key="foo.com", network="back", port="1", api__key="api.foo.com", api__port="2")
    assert [(one.name, one.keys, one.port, one.network) for one in labels.routes] == [
        ("", ("foo.com",), 1, "back"),
        ("api", ("api.foo.com",), 2, "back"),
    ]


def test_a_named_route_alone_opts_in() -> None:
    assert [one.keys for one in parse(web__key="foo.com").routes] == [("foo.com",)]


def test_another_prefix_makes_other_labels_ours() -> None:
    labels = {"frtest.key": "foo.com", "fastroute.key": "bar.com", "fastroute.nonsense": "1"}
    assert [one.keys for one in parse_labels(labels, (80,), "frtest").routes] == [("foo.com",)]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"key": "foo.com", "wieght": "1"}, ["fastroute.wieght", "did you mean fastroute.weight?"]),
        ({"key": "foo.com", "web.prot": "1"}, ["fastroute.web.prot", "did you mean fastroute.web.port?"]),
        ({"keys": "foo.com"}, ["fastroute.keys", "did you mean fastroute.key?"]),
        ({"key": "foo.com", "colour": "red"}, ["fastroute.colour", "known are key, port"]),
        ({"key": "foo.com", "Port": "1"}, ["fastroute.Port", "did you mean fastroute.port?"]),
        ({"key": "foo.com", "a.b.key": "x.com"}, ["fastroute.a.b.key", "fastroute.NAME.SETTING"]),
        ({"key": "foo_bar!.com"}, ["fastroute.key", "foo_bar!.com"]),
        ({"key": " , "}, ["fastroute.key", "empty"]),
        ({"key": "foo.com", "port": "http"}, ["fastroute.port", "'http'", "1 to 65535"]),
        ({"key": "foo.com", "port": "0"}, ["fastroute.port", "'0'"]),
        ({"key": "foo.com", "port": "65536"}, ["fastroute.port", "'65536'"]),
        ({"key": "foo.com", "weight": "-1"}, ["fastroute.weight", "'-1'"]),
        ({"key": "foo.com", "weight": "٣"}, ["fastroute.weight"]),
        ({"key": "foo.com", "backup": "256"}, ["fastroute.backup", "0 to 255"]),
        ({"key": "foo.com", "algorithm": "wr"}, ["fastroute.algorithm", "did you mean wrr?"]),
        ({"key": "foo.com", "tls": "redirekt"}, ["fastroute.tls", "did you mean redirect?"]),
        ({"key": "foo.com", "hsts": "1"}, ["fastroute.hsts", "31536000 (a year)"]),
        ({"key": "foo.com", "sticky": "cokie"}, ["fastroute.sticky", "did you mean cookie?"]),
        ({"key": "foo.com", "sticky": "cookie:a b"}, ["fastroute.sticky", "cookie:NAME"]),
        ({"key": "foo.com", "eject": "error"}, ["fastroute.eject", "did you mean errors?"]),
        ({"key": "foo.com", "mount": "script_name"}, ["fastroute.mount", "did you mean script-name?"]),
        ({"key": "foo.com", "ramp": "601"}, ["fastroute.ramp", "600 s"]),
        ({"key": "foo.com", "health": "no"}, ["fastroute.health", "docker, ignore"]),
        ({"key": "foo.com", "protocol": "fcgi"}, ["fastroute.protocol", "uwsgi, http"]),
        ({"key": "foo.com", "probe": "health"}, ["fastroute.probe", "/health"]),
        ({"key": "foo.com", "probe": "/a b"}, ["fastroute.probe"]),
        ({"key": "foo.com", "enable": "maybe"}, ["fastroute.enable", "neither true nor false"]),
        ({"key": "foo.com", "network": ""}, ["fastroute.network"]),
        ({"port": "8000"}, ["no label fastroute.key"]),
        ({"key": "foo.com", "web.port": "1"}, ["fastroute.web.port", "without fastroute.web.key"]),
        ({"key": "foo.com", "web.key": "foo.com"}, ["fastroute.key and fastroute.web.key", "foo.com", "8000"]),
    ],
)
def test_a_wrong_label_is_said_and_routes_nothing(labels: dict[str, str], words: list[str]) -> None:
    found = parse_labels({f"fastroute.{name}": value for name, value in labels.items()}, (8000,), "fastroute")
    assert found.routes == ()
    assert len(found.problems) == 1
    for word in words:
        assert word in found.problems[0]


def test_every_wrong_label_is_said_not_only_the_first() -> None:
    assert len(parse(key="foo.com", port="x", weight="y", nonsense="z").problems) == 3


@pytest.mark.parametrize(("exposed", "word"), [((), "no TCP port"), ((80, 443), "80, 443")])
def test_without_one_exposed_port_the_label_is_asked_for(exposed: tuple[int, ...], word: str) -> None:
    (problem,) = parse(key="foo.com", exposed=exposed).problems
    assert word in problem
    assert "fastroute.port" in problem
    assert parse(key="foo.com", port="5", exposed=exposed).routes[0].port == 5


def test_enable_false_switches_everything_off_even_wrong_labels() -> None:
    assert not parse(key="foo.com", enable="false").enabled
    assert parse(key="foo.com", enable="false", wieght="1").problems == ()
    assert not parse(web__key="foo.com", web__enable="0").enabled
    assert [one.name for one in parse(key="foo.com", web__key="bar.com", web__enable="off").routes] == [""]


def test_the_routers_mark_is_no_wish_to_be_routed() -> None:
    assert is_router({"fastroute.role": "router"}, "fastroute")
    assert is_router({"fastroute.role": "router"}, "frtest")
    assert not is_labelled({"fastroute.role": "router", "other": "1"}, "fastroute")
    assert is_labelled({"fastroute.wieght": "1"}, "fastroute")
    assert not is_labelled({"fastrouter": "1"}, "fastroute")


@given(
    st.dictionaries(st.sampled_from(["key", "port", "web.key", "weight", "x.y.z", "probe", ""]) | st.text(), st.text())
)
def test_no_label_raises_and_none_both_routes_and_complains(labels: dict[str, str]) -> None:
    found = parse_labels({f"fastroute.{name}": value for name, value in labels.items()}, (8000,), "fastroute")
    assert not (found.routes and found.problems)
    assert found.routes or found.problems or not found.enabled
