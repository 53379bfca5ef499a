"""The settings of nodes and keys: every field has its row, and says the same after each of its forms."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.controller.decide.labels import LABELS, RouteSpec, parse_labels
from fastroute.ctl import announce
from fastroute.router.config.fixed_node import fixed_node
from fastroute.router.config.options import parse
from fastroute.router.protocol.node_options import (
    ALGORITHMS,
    ALL_SETTINGS,
    DEFAULT,
    KEY_SETTINGS,
    NODE_SETTINGS,
    KeyOptions,
    NodeOptions,
    from_names,
    from_wire,
    non_defaults,
    setting,
    to_wire,
)

options = st.builds(
    NodeOptions,
    algorithm=st.sampled_from(["", *ALGORITHMS]),
    weight=st.integers(1, 65_535),
    backup=st.integers(0, 255),
    modifier1=st.integers(0, 255),
    modifier2=st.integers(0, 255),
    protocol=st.sampled_from(["uwsgi", "http"]),
    max=st.integers(0, 65_535),
    wait=st.none() | st.integers(0, 600_000).map(lambda ms: ms / 1000),
    tls=st.sampled_from(["", "auto", "off", "redirect"]),
    hsts=st.sampled_from([0, 86_400, 31_536_000, 63_072_000]),
    sticky=st.sampled_from(["", "off", "cookie:fastroute"])
    | st.from_regex(r"cookie:[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    eject=st.sampled_from(["", "errors", "off"]),
    mount=st.sampled_from(["", "keep", "script-name"]),
    ramp=st.integers(0, 600_000).map(lambda ms: ms / 1000),
)


def test_every_field_has_a_row_where_its_type_says_and_a_label() -> None:
    of_key = [field.name for field in fields(KeyOptions)]
    assert [row.name for row in KEY_SETTINGS] == of_key
    assert [row.name for row in NODE_SETTINGS] == [
        field.name for field in fields(NodeOptions) if field.name not in of_key
    ]
    assert all((LABELS[row.name].scope == "key") == (row in KEY_SETTINGS) for row in ALL_SETTINGS)
    assert len({row.wire for row in ALL_SETTINGS}) == len(ALL_SETTINGS)


def test_every_label_is_a_setting_or_a_field_of_a_route() -> None:
    of_route = {field.name for field in fields(RouteSpec)} | {"key", "enable", "role"}
    assert set(LABELS) <= of_route | {row.name for row in ALL_SETTINGS}


@given(options)
def test_names_labels_wire_and_attributes_say_the_same(node: NodeOptions) -> None:
    assert from_names(non_defaults(node)) == node
    assert from_wire(dict(to_wire(node, ALL_SETTINGS))) == node
    labels = {f"fastroute.{name}": str(value) for name, value in non_defaults(node).items()}
    (route,) = parse_labels({"fastroute.key": "foo.com", **labels}, (80,), "fastroute").routes
    assert route.options == node
    attributes = "".join(f",{name}={value}" for name, value in non_defaults(node).items())
    assert fixed_node(f"foo.com=127.0.0.1:80{attributes}").options == node
    variable = {"FASTROUTE_NODE": f"foo.com=127.0.0.1:80{attributes},bar.com=127.0.0.1:81"}
    assert [fixed.options for fixed in parse([], variable).node] == [node, DEFAULT]


def test_a_name_of_a_later_version_is_ignored_and_a_bad_value_is_not() -> None:
    assert from_names({"weight": 2, "later": 1}) == NodeOptions(weight=2)
    assert from_wire({b"weight": b"2", b"later": b"1"}) == NodeOptions(weight=2)
    for _ in range(2):
        with pytest.raises(ValueError, match="backup: "):
            from_wire({b"backup": b"256"})
    with pytest.raises(ValueError, match="backup: "):
        from_wire({b"backup": b"9" * 1000})


@pytest.mark.parametrize(
    ("text", "wait"), [("15", 15.0), ("15s", 15.0), ("500ms", 0.5), ("0", 0.0), ("600", 600.0), ("10m", 600.0)]
)
def test_a_wait_is_written_as_times_are(text: str, wait: float) -> None:
    assert setting("wait").read(text) == from_wire({b"wait": text.encode()}).wait == wait


@pytest.mark.parametrize("text", ["", "601", "-1", "15 s", "soon", "1e2", "600.001"])
def test_a_wait_that_is_none_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"a time from 0 to 600 s expected \(like 15, 15s or 500ms\)"):
        setting("wait").read(text)


def test_a_later_version_may_allow_more_than_this_one_does() -> None:
    assert from_wire({b"wait": b"3600", b"max": b"1000000"}) == NodeOptions(wait=600.0, max=65_535)
    for name, value in ((b"wait", b"soon"), (b"max", b"many"), (b"max", b"-1")):
        with pytest.raises(ValueError, match=f"{name.decode()}: "):
            from_wire({name: value})


@pytest.mark.parametrize(("name", "text"), [("tls", "on"), ("hsts", "1"), ("hsts", "a year"), ("hsts", "")])
def test_https_settings_have_few_values(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"one of (auto, off, redirect|0, 86400 .a day.)"):
        setting(name).read(text)


@pytest.mark.parametrize(
    ("text", "cookie"), [("cookie", "fastroute"), ("cookie:SRV", "SRV"), ("off", ""), ("cookie:__Host-x", "__Host-x")]
)
def test_a_cookie_may_have_a_name(text: str, cookie: str) -> None:
    assert NodeOptions(sticky=setting("sticky").read(text)).cookie == cookie
    assert from_wire({b"sticky": text.encode()}).cookie == cookie
    assert NodeOptions().cookie == ""


@pytest.mark.parametrize(
    "text", ["", "cookies", "cookie:", "cookie:a b", "cookie:a;b", "cookie:a=b", 'cookie:"', "cookie:a\r\n", "Off",
             "cookie:" + "x" * 65, "cookie:ä"],
)  # fmt: skip
def test_a_cookie_whose_name_is_none_is_refused_by_all(text: str) -> None:
    with pytest.raises(ValueError, match="cookie, cookie:NAME"):
        setting("sticky").read(text)
    if text:
        with pytest.raises(ValueError, match="sticky: "):
            from_wire({b"sticky": text.encode("latin-1")})


def test_a_newer_way_to_eject_or_to_mount_is_as_if_nothing_was_said() -> None:
    assert from_wire({b"eject": b"latency", b"mount": b"rewrite", b"weight": b"2"}) == NodeOptions(weight=2)


def test_a_node_that_wants_no_waiting_is_not_one_that_says_nothing() -> None:
    assert from_wire({b"wait": b"0"}).wait == 0.0
    assert from_wire({}).wait is None
    assert to_wire(NodeOptions(wait=0.0), KEY_SETTINGS) == [(b"wait", b"0")]


def test_announce_has_an_argument_for_every_setting() -> None:
    assert {row.name for row in ALL_SETTINGS} <= set(inspect.signature(announce).parameters)
