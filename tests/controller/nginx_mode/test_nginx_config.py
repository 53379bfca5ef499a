"""Rendered configurations: golden files for every label and state (FASTROUTE_GOLDEN=write makes them anew)."""

import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.nginx_states import custom, desired, route

from fastroute.controller.desired import Route
from fastroute.controller.nginx_mode.nginx_config import (
    ENTRY,
    AbsentContainer,
    ConfigState,
    NginxOptions,
    Rendered,
    digest_of,
    render,
)
from fastroute.controller.nginx_mode.rendering import TemplateProblem
from fastroute.controller.nginx_mode.user_templates import built_in

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = NginxOptions(("8080", "[::]:8080"), "127.0.0.1:3035", ("10.0.0.0/8",))


def rendered(*routes: Route, absent: dict[str, tuple[AbsentContainer, ...]] | None = None, **more: str) -> Rendered:
    return render(ConfigState(desired(*routes), absent or {}, more.get("aside", {})), built_in(), OPTIONS)  # type: ignore[arg-type]


WEB = route("foo.com", "10.1.0.2:3031")
CASES = {
    "plain": (WEB, route("foo.com", "[fd00::3]:3031", "web-2"), route("bar.com", "10.1.0.4:80", "bar-1")),
    "weight": (route("foo.com", "10.1.0.2:3031", weight=7), route("foo.com", "10.1.0.3:3031", "web-2", drain=True)),
    "backup": (WEB, route("foo.com", "10.1.0.3:3031", "b", backup=1), route("foo.com", "10.1.0.4:3031", "c", backup=3)),
    "only-backup": (route("foo.com", "10.1.0.3:3031", "b", backup=1), route("foo.com", "10.1.0.4:3031", "c", backup=2)),
    "all-draining": (route("foo.com", "10.1.0.2:3031", drain=True),),
    "no-node": (route("foo.com", ""),),
    "nobody": (),
    "lrc": (route("foo.com", "10.1.0.2:3031", algorithm="lrc", weight=3),),
    "wlrc": (route("foo.com", "10.1.0.2:3031", algorithm="wlrc", weight=3),),
    "iphash": (route("foo.com", "10.1.0.2:3031", algorithm="iphash"),),
    "iphash-backup": (
        route("foo.com", "10.1.0.2:3031", algorithm="iphash"),
        route("foo.com", "10.1.0.3:3031", "b", algorithm="iphash", backup=1),
    ),
    "random2": (route("foo.com", "10.1.0.2:3031", algorithm="random2"),),
    "limits": (
        route("foo.com", "10.1.0.2:3031", max=4, wait=15.0, weight=2),
        route("foo.com", "10.1.0.3:3031", "web-2", wait=15.0, backup=1, max=2),
        route("foo.com", "10.1.0.4:3031", "web-3", drain=True, max=2),
        route("bar.com", "10.1.0.5:80", "bar-1", protocol="http", algorithm="random2", max=8, wait=0.0),
        route("bar.com", "10.1.0.6:80", "bar-2", protocol="http", algorithm="random2"),
        route("baz.com", "10.1.0.7:80", "baz-1", algorithm="iphash", max=1),
    ),
    "unsupported": (
        route("foo.com/api", "10.1.0.2:3031", sticky="cookie:foo", mount="script-name", ramp=30.0),
        route("foo.com/api", "10.1.0.3:3031", "web-2", sticky="cookie:other"),
        route("bar.com", "10.1.0.5:80", "bar-1", sticky="off", mount="keep", eject="off"),
    ),
    "eject": (
        route("foo.com", "10.1.0.2:3031", eject="errors"),
        route("bar.com", "10.1.0.3:80", "bar-1", protocol="http", eject="errors"),
        route("bar.com/api", "10.1.0.4:80", "api-1", protocol="http", eject="off"),
        # Another key of the location does not ask for it.
        route("baz.com", "10.1.0.5:3031", "baz-1", eject="errors"),
        route("baz.com:8443", "10.1.0.6:3031", "baz-2"),
    ),
    "modifiers": (route("foo.com", "10.1.0.2:3031", modifier1=5, modifier2=1),),
    "two-manners": (WEB, route("foo.com", "10.1.0.3:80", "h", protocol="http")),
    "http": (route("foo.com", "10.1.0.2:80", protocol="http"),),
    "paths": (
        WEB,
        route("foo.com/api", "10.1.0.5:80", "api-1", protocol="http"),
        route("foo.com/api/v1", "", "v1"),
        route("only.com/API;'x", "10.1.0.6:80", "odd"),
    ),
    "wildcards": (
        route("*.foo.com", "10.1.0.2:3031"),
        route("*.com/admin", "10.1.0.3:3031", "admin"),
        route("a.foo.com/x", "10.1.0.4:3031", "x"),
    ),
    "ports": (
        WEB,
        route("foo.com:8443", "10.1.0.9:80", "tls", protocol="http"),
        route("[::1]:80", "10.1.0.8:80", "v6"),
    ),
    "socket": (route("foo.com", "/run/app.sock"), route("bar.com", "worker.local:80", "named")),
    "unservable": (route("foo.com/a/../b", "10.1.0.2:80"), route("foo.com/a//b", "10.1.0.2:80"), WEB),
}
ABSENT = {
    "foo.com": (
        AbsentContainer("web-2", "unhealthy", "its HEALTHCHECK fails"),
        AbsentContainer("web-3", "probing", "waiting for\n}{;$"),
    ),
    "": (AbsentContainer("typo-1", "error", "unknown label fastroute.wieght: did you mean fastroute.weight?"),),
}


@pytest.mark.parametrize(
    ("sticky", "version", "directive"),
    [
        ("cookie:foo", (1, 29, 6), "sticky cookie foo path=/api httponly samesite=lax;"),
        ("cookie:foo", (1, 31), "sticky cookie foo path=/api httponly samesite=lax;"),
        ("cookie:foo", (1, 29, 5), ""), ("cookie:foo", None, ""), ("off", (1, 31), ""), ("cookie:f$o", (1, 31), ""),
    ],
)  # fmt: skip
def test_clients_stay_with_their_node_where_nginx_knows_how(
    sticky: str, version: tuple[int, ...] | None, directive: str
) -> None:
    desired_routes = desired(route("foo.com/api", "10.1.0.2:3031", sticky=sticky, algorithm="lrc"))
    found = render(ConfigState(desired_routes), built_in(), replace(OPTIONS, version=version))
    lines = [line for name, text in found.files.items() if name.startswith("keys/") for line in text.splitlines()]
    assert [line.strip() for line in lines if "sticky cookie" in line and "problem" not in line] == (
        [directive] if directive else []
    )
    assert any("sticky" in str(problem) for problem in found.problems) == (not directive and sticky != "off")
    if directive:
        assert lines.index(f"    {directive}") > lines.index("    least_conn;")


def text_of(found: Rendered) -> str:
    files = "".join(f"==== {name}\n{text}" for name, text in found.files.items())
    return f"{found.hash}\n{files}" + "".join(f"problem: {problem}\n" for problem in found.problems)


@pytest.mark.parametrize("name", [*CASES, "absent", "aside"])
def test_golden(name: str) -> None:
    if name == "absent":
        found = rendered(WEB, absent=ABSENT)
    elif name == "aside":
        state = ConfigState(
            desired(WEB, *CASES["paths"]), quarantined={"foo.com": "unknown directive", "foo.com/api": "no"}
        )
        found = render(state, built_in(), OPTIONS)
    else:
        found = rendered(*CASES[name])
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("FASTROUTE_GOLDEN") == "write":
        golden.write_text(text_of(found))
    assert text_of(found) == golden.read_text(), "FASTROUTE_GOLDEN=write makes it anew; look at the difference"


def test_the_same_state_makes_the_same_bytes() -> None:
    routes = list(desired(*(one for case in CASES.values() for one in case)).values())
    first = text_of(rendered(*routes))
    for seed in range(5):
        random.Random(seed).shuffle(routes)
        assert text_of(rendered(*routes)) == first


def test_comments_are_not_what_a_configuration_means() -> None:
    one, two = rendered(WEB), rendered(WEB, absent=ABSENT)
    assert one.files != two.files
    assert one.hash == two.hash
    assert rendered(route("foo.com", "10.1.0.3:3031")).hash != one.hash


def test_a_node_of_the_static_file_is_said_to_be_one() -> None:
    assert (
        '    # static file\n    server "10.1.0.2:3031"'
        in rendered(route("foo.com", "10.1.0.2:3031", "")).files["keys/foo.com.conf"]
    )


def test_a_hash_can_be_checked() -> None:
    found = rendered(WEB)
    assert digest_of(found.files, found.hash) == found.hash
    damaged = {**found.files, "keys/foo.com.conf": found.files["keys/foo.com.conf"][:-3]}
    assert digest_of(damaged, found.hash) != found.hash


def test_served_is_what_nginx_gets() -> None:
    found = rendered(*CASES["two-manners"], route("bar.com", ""))
    assert {(key, address) for key, address, _ in found.served} == {("foo.com", "10.1.0.2:3031"), ("bar.com", "")}
    found = render(ConfigState(desired(WEB), quarantined={"foo.com": "x"}), built_in(), OPTIONS)
    assert [(key, address) for key, address, _ in found.served] == [("foo.com", "")]


def test_a_users_template_replaces_ours_and_its_errors_have_file_and_line() -> None:
    found = render(ConfigState(desired(WEB)), custom({}, errors="    # mine\n"), OPTIONS)
    assert "# mine" in found.files["keys/foo.com.conf"]
    assert "uwsgi_pass" in found.files["keys/foo.com.conf"]
    for text, said in (("a\n{% if %}", "errors.conf.j2:2: "), ("a\nb\n{{ me }}", "errors.conf.j2:3: 'me' is undefined"),
                       ("{{ 1 / 0 }}", "errors.conf.j2:1: "), ("{% include 'x' %}", ": no template is called x"),
                       ("{{ ''.__class__.mro() }}", "errors.conf.j2:1: ")):  # fmt: skip
        with pytest.raises(TemplateProblem) as problem:
            render(ConfigState(desired(WEB)), custom({}, errors=text), OPTIONS)
        assert said in str(problem.value)
        assert str(problem.value).startswith("/mine/errors.conf.j2:")


def test_includes_are_copied_and_named() -> None:
    user_templates = custom({"foo.com.conf": "a;\n", "foo.com.location.conf": "b;\n", "other.com.conf": "c;\n"})
    found = render(ConfigState(desired(WEB)), user_templates, OPTIONS)
    assert found.files["includes/foo.com.conf"] == "a;\n"
    assert "includes/other.com.conf" not in found.files
    assert 'include "@generation@/includes/foo.com.conf";' in found.files["keys/foo.com.conf"]
    assert 'include "@generation@/includes/foo.com.location.conf";' in found.files["keys/foo.com.conf"]
    assert found.owners["includes/foo.com.conf"] == ("foo.com",)
    assert found.installed("/x/y")[ENTRY].endswith("include /x/y/keys/*.conf;\n")


def test_the_include_of_a_host_stays_while_any_key_needs_it() -> None:
    """It may be what protects the others."""
    state = ConfigState(desired(WEB, route("foo.com/api", "10.1.0.5:80", "evil")), quarantined={"foo.com/api": "no"})
    user_templates = custom({"foo.com.conf": "deny all;\n"})
    found = render(state, user_templates, OPTIONS)
    assert 'include "@generation@/includes/foo.com.conf";' in found.files["keys/foo.com.conf"]
    found = render(replace(state, quarantined={"foo.com/api": "no", "foo.com": "no"}), user_templates, OPTIONS)
    assert "includes/foo.com.conf" not in found.files
    assert "includes/foo.com.conf" not in found.files["keys/foo.com.conf"]


def test_a_port_too_many_is_a_problem_and_not_served() -> None:
    routes = [route(f"foo.com:{port}", "10.1.0.9:80") for port in range(1000, 1100)]
    found = rendered(WEB, *routes)
    left_out = {problem.key for problem in found.problems}
    assert left_out == {f"foo.com:{port}" for port in range(1000 + 64, 1100)}
    assert {key for key, _, _ in found.served} == {one.entry.key for one in (WEB, *routes)} - left_out


MANY = {
    "many": tuple(
        route(f"{'a' * 60}.{'b' * 60}.foo.com", f"[fd00:1234:5678:9abc:def0:1234:5678:{n:x}]:65535", f"c{n}", max=n)
        for n in range(1, 400)
    )
}


@pytest.mark.parametrize("name", [*CASES, *MANY])
def test_nginx_takes_each_case_alone(tmp_path: Path, name: str) -> None:
    """With no key, or none that has a node, too; and the memory for the counts is large enough."""
    for file, text in rendered(*(CASES | MANY)[name]).installed(str(tmp_path)).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text.replace("listen 8080", "listen 127.0.0.1:18080").replace(" 3035", " 18035"))
    config = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; include {tmp_path}/{ENTRY}; }}"
    (tmp_path / "nginx.conf").write_text(config)
    test = ["nginx", "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(test, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
