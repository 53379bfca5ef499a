"""uWSGI's INI files, as uWSGI 2.0 was seen to read them, and what their options mean here."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.options import parse, resolve_all
from fastroute.router.config.uwsgi_ini import read_lines
from fastroute.router.config.uwsgi_options import read_ini

#: The machine may be busy: time is not what these examples are about.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def ini(tmp_path: Path) -> Callable[..., str]:
    def write(text: str, name: str = "router.ini") -> str:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return str(file)

    return write


def values(file: str, environ: dict[str, str] | None = None) -> dict[str, object]:
    """Everything that is not a default, what is not in this version included."""
    found = resolve_all([file], environ or {})
    return {field: one.value for field, one in found.items() if one.origin != "default"}


def refused(file: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse([file], {})
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).removeprefix(f"{os.path.dirname(file)}/")


def expand(text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    lines = read_lines(f"[uwsgi]\n{text}", "/srv/site/router.ini", environ or {}, lambda file: "").lines
    return {line.name: line.value for line in lines}


def test_the_articles_router_file_is_understood(ini: Callable[..., str]) -> None:
    settings = parse(
        [
            ini("""
; the fast router
[uwsgi]
plugins = fastrouter
master = 1
shared-socket = 127.0.0.1:3031
fastrouter = =0
fastrouter-subscription-server = 127.0.0.1:3131
subscription-tolerance = 17
subscription-algo = lrc
fastrouter-stats = 127.0.0.1:9191
fastrouter-processes = 2
fastrouter-cheap
vacuum = true
chmod-socket = 666
# vim: ft=dosini
""")
        ],
        {},
    )
    assert [str(one) for one in settings.listen] == ["127.0.0.1:3031"]
    assert [str(one) for one in settings.subscription_server] == ["127.0.0.1:3131"]
    assert [str(one) for one in settings.stats] == ["127.0.0.1:9191"]
    assert (settings.tolerance, settings.algorithm, settings.processes) == (17, "lrc", 2)
    assert (settings.cheap, settings.vacuum) == (True, True)


def test_flags_and_variables_win_over_an_ini(ini: Callable[..., str]) -> None:
    file = ini("[uwsgi]\nfastrouter = :1\nsubscription-tolerance = 17\n")
    settings = parse([file, "--listen", ":2"], {"FASTROUTE_TOLERANCE": "3"})
    assert ([str(one) for one in settings.listen], settings.tolerance) == ([":2"], 3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fastrouter-cheap = false", {"cheap": False}),
        ("fastrouter-workers = 3", {"processes": 3}),
        ("fastrouter-timeout = 20", {"timeout": 20, "client_timeout": 20}),
        ("fastrouter-use-base = /run/app-", {"base": "/run/app-", "subscription_server": ()}),
        ("fastrouter-use-pattern = /run/%%s.sock", {"pattern": "/run/%s.sock", "subscription_server": ()}),
        ("fastrouter-use-pattern = 127.0.0.1:80%%s", {"pattern": "127.0.0.1:80%s", "subscription_server": ()}),
        ("fastrouter-use-base = apps/", {"base": "./apps/", "subscription_server": ()}),
        ("fastrouter-post-buffering = 8192", {"post_buffering": 8192}),
        ("fastrouter-buffer-size = 4096", {}),
        ("subscription-mountpoint = 1", {"mountpoints": 1}),
        ("subscription-mountpoints = 2", {"mountpoints": 2}),
        ("subscription-dotsplit", {"dotsplit": True}),
        (
            "subscriptions-sign-check = SHA1:/tmp",
            {"subscription_sign_check": "sha1:/tmp", "subscription_allow": ()},
        ),
        ("uid = root", {"uid": 0}),
        ("gid = 33", {"gid": 33}),
        ("pidfile = /run/r.pid", {"pidfile": "/run/r.pid"}),
        ("logto = /tmp/r.log", {"logto": "/tmp/r.log"}),
        ("name = x\npidfile = /run/%(name).pid", {"pidfile": "/run/x.pid"}),
        ("set-placeholder = unused=1", {}),
        ("chown-socket = www-data\nplugin = fastrouter", {}),
    ],
)
def test_each_option_means_what_uwsgi_means(line: str, expected: dict[str, object], ini: Callable[..., str]) -> None:
    assert values(ini(f"[uwsgi]\n{line}\n")) == expected


def test_addresses_are_uwsgis_too_relative_paths_included(ini: Callable[..., str]) -> None:
    found = values(ini("[uwsgi]\nfastrouter = front.sock\nfastrouter = @abstract\nfastrouter-to = app.sock\n"))
    assert [str(one) for one in found["listen"]] == ["./front.sock", "@abstract"]  # type: ignore[attr-defined]
    assert [str(one) for one in found["to"]] == ["./app.sock"]  # type: ignore[attr-defined]


def test_a_fallback_serves_unknown_keys_only_when_the_ini_says_so(ini: Callable[..., str]) -> None:
    assert values(ini("[uwsgi]\nfastrouter-fallback = a:1\n"))["fallback_on_no_key"] is False
    text = "[uwsgi]\nfastrouter-fallback = a:1\nfastrouter-fallback-on-no-key = 1\n"
    assert values(ini(text))["fallback_on_no_key"] is True


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("fastruoter = :1", "router.ini:2: 'fastruoter': unknown option; did you mean fastrouter?"),
        (
            "\nfastrouter-subscription-srever = :1",
            "router.ini:3: 'fastrouter-subscription-srever': unknown option; did you mean fastrouter-subscription",
        ),
        ("Fastrouter-Cheap = 1", "router.ini:2: 'Fastrouter-Cheap': unknown option; did you mean fastrouter-cheap?"),
        ("fastrouter = nonsense:x", "router.ini:2: fastrouter: 'nonsense:x': port 'x' is no number"),
        ("fastrouter = =1\nshared-socket = :1", "router.ini:2: fastrouter: =1: this file has 1 shared-socket"),
        ("fastrouter-processes =", "router.ini:2: fastrouter-processes: '': a whole number from 1 to 256 expected"),
        ("subscription-algo = wrrr", "router.ini:2: subscription-algo: 'wrrr': one of"),
        ("fastrouter-buffer-size = many", "router.ini:2: fastrouter-buffer-size: 'many': a number of bytes expected"),
        ("daemonize = /tmp/log", "router.ini:2: daemonize: refused: run it under a supervisor (systemd, Docker)"),
        ("socket = 127.0.0.1:0", "router.ini:2: socket: a worker's option; with fastrouter = ADDR this file"),
        ("uid = nobody-at-all", "router.ini:2: uid: 'nobody-at-all': no such name on this machine"),
        (
            "fastrouter-use-pattern = %%s:3031",
            "router.ini:2: fastrouter-use-pattern: '%s:3031': a path expected, or IP:PORT with the key in the port",
        ),
        ("fastrouter-use-base = foo.com:80", "router.ini:2: fastrouter-use-base: 'foo.com:80': a path expected, or IP"),
        ("pidfile = /run/%(nmae).pid", "router.ini:2: %(nmae): no line of this file sets 'nmae'"),
        ("logto = $(NOT_SET)/x", "router.ini:2: $(NOT_SET): this environment variable is not set"),
        ("logto = /tmp/%z", "router.ini:2: '%z': unknown variable; %d %p %n"),
        ("a = %(b)\nb = %(a)\nlogto = %(a)", "router.ini:2: its %(...) lead in a circle"),
        ("logto = @(exec://id)", "router.ini:2: logto: values from @(...) are not understood"),
        ("= x", "router.ini:2: '= x': name = value expected"),
        ("[broken", "router.ini:2: '[broken': a section expected"),
        ("ini = %p", "router.ini:2: ini: more than 8 files deep"),
        ("ini = /nonexistent.ini", "router.ini:2: ini: /nonexistent.ini: cannot be read: No such file or directory"),
        ("ini = :other", "router.ini:1: no section [other] in this file"),
    ],
)
def test_a_wrong_ini_is_explained_with_its_line(lines: str, said: str, ini: Callable[..., str]) -> None:
    assert said in refused(ini(f"[uwsgi]\n{lines}\n"))


def test_a_file_without_the_section_is_refused(ini: Callable[..., str]) -> None:
    assert "router.ini:1: no section [uwsgi] in this file" in refused(ini("[other]\nfastrouter = :1\n"))


def test_an_ini_is_known_by_its_first_line_where_the_name_says_nothing(ini: Callable[..., str]) -> None:
    assert parse([ini("; hello\n\n [uwsgi]\nfastrouter = :7\n", "router.conf")], {}).listen[0].port == 7
    assert parse([ini("# hello\nrouter: {listen: [':8']}\n", "site.conf")], {}).listen[0].port == 8


def test_single_letter_variables_mean_the_file_they_stand_in() -> None:
    found = expand("a = %d|%p|%n|%s|%e|%c|%o\nb = 100%%|50%\nh = %h")
    assert found["a"] == "/srv/site/|/srv/site/router.ini|router|router.ini|ini|site|/srv/site/router.ini"
    assert found["b"] == "100%|50%"
    assert found["h"] == socket.gethostname()


def test_placeholders_may_come_later_nest_and_the_first_line_wins() -> None:
    found = expand("a = x%(b)\nb = y%(c)\nc = z\nc = other\nset-ph = d=1=2\ne = %(d)")
    assert (found["a"], found["b"], found["e"]) == ("xyz", "yz", "1=2")


def test_the_environment_is_filled_in() -> None:
    assert expand("a = $(HOME)/x/$(USER)", {"HOME": "/root", "USER": "me"})["a"] == "/root/x/me"


def test_comments_sections_and_blanks_are_read_as_uwsgi_reads_them() -> None:
    text = "; c\n# c\n  a =  1 ; no comment  \r\nflag\nempty =\n[other]\nb = 2\n[uwsgi]\nc = 3"
    assert expand(text) == {"a": "1 ; no comment", "flag": "", "empty": "", "c": "3"}


def test_includes_are_read_in_place_with_their_own_variables(ini: Callable[..., str], tmp_path: Path) -> None:
    ini("[uwsgi]\npidfile = %d%n-%N.pid\n[extra]\nsubscription-tolerance = 9\n", "inc/part.ini")
    file = ini("[uwsgi]\nbase = %dinc\nini = %(base)/part.ini\nini = %(base)/part.ini:extra\nlogto = /tmp/%n\n")
    assert values(file) == {"pidfile": f"{tmp_path}/inc/part-router.pid", "tolerance": 9, "logto": "/tmp/router"}


def test_a_mistake_in_an_included_file_has_that_files_line(ini: Callable[..., str], tmp_path: Path) -> None:
    ini("[uwsgi]\n\nfastrouter-timeout = x\n", "part.ini")
    assert refused(ini("[uwsgi]\nini = %dpart.ini\n")).startswith("part.ini:3: fastrouter-timeout: 'x'")


def test_doubling_variables_are_no_bomb(ini: Callable[..., str]) -> None:
    text = "a = xxxxxxxxxx\n" + "".join(f"{chr(98 + i)} = {f'%({chr(97 + i)})' * 10}\n" for i in range(12))
    assert "more than 16384 characters" in refused(ini(f"[uwsgi]\n{text}"))


WORDS = [
    "[uwsgi]\n",
    "fastrouter",
    " = ",
    "=0",
    "shared-socket",
    "%(a)",
    "a = ",
    "\n",
    "ini = ",
    "$(A)",
    "%d",
    "@(",
    ":",
    "set = ",
    "fastrouter = :1\n",
    "socket = 127.*:0\n",
    "subscribe2 = key=",
    "plugins = ",
]


@UNTIMED
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=30).map("".join), st.text(max_size=20))
def test_whatever_the_text_only_configuration_errors_come_out(text: str, included: str) -> None:
    said = "fine"
    try:
        read_ini("[uwsgi]\n" + text, "router.ini", {"A": "%(a)"}, lambda file: "[uwsgi]\n" + included)
    except ConfigurationError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


SINGLE = """[uwsgi]
fastrouter = 127.0.0.1:3031
plugins = fastrouter,python3
set-placeholder = app=web
socket = 192.*:0
socket = /run/%(app).sock
wsgi-file = %(app).py
processes = 4
weight = 2
subscribe2 = key=Foo.COM
subscribe2 = server=,key=bar.com,socket=1,weight=7,backup=1
subscribe2 = server=10.0.0.9:3031,key=elsewhere.com
uid = 0
master = false
"""


def test_one_file_for_router_and_worker_is_split(ini: Callable[..., str]) -> None:
    settings = parse([ini(SINGLE, "single.ini")], dict(os.environ))
    assert [str(one) for one in settings.listen] == ["127.0.0.1:3031"]
    (worker,) = settings.workers
    options = dict(worker.uwsgi_options)
    assert options | {"socket": ""} == {
        "plugins": "python3", "socket": "", "wsgi-file": "web.py", "processes": "4", "weight": "2",
        "subscribe2": "server=10.0.0.9:3031,key=elsewhere.com", "master": "true", "die-on-term": "true",
        "strict": "true",
    }  # fmt: skip
    assert [value for name, value in worker.uwsgi_options if name == "socket"] == ["192.*:0", "/run/web.sock"]
    told = [(one.key, one.socket, one.options.weight, one.options.backup) for one in worker.subscribed]
    assert told == [("foo.com", 0, 2, 0), ("bar.com", 1, 7, 1)]
    assert Path(worker.command).name.startswith(("uwsgi", "pyuwsgi"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("master = true\nplugins = fastrouter\nprocesses = 2", "router.ini:5: processes: a worker's option; router"),
        ("processes = 2", "router.ini:3: processes: a worker's option; router and worker in one file take socket"),
        ("socket = :0\nsubscribe2 = key=a b", "router.ini:4: subscribe2: key: 'a b' is no key"),
        ("socket = :0\nsubscribe2 = weight=2", "router.ini:4: subscribe2: key=HOST is missing"),
        ("socket = :0\nsubscribe2 = key=a.com,wieght=2", "'wieght': has no meaning without server=; did you mean"),
        ("socket = :0\nsubscribe2 = key=a.com,socket=1", "router.ini:4: subscribe2: socket=1: this file has 1"),
        ("socket = 127.*:x\nsubscribe2 = key=a.com", "router.ini:3: socket: '127.*:x': port 'x' is no number"),
        ("socket = :0\nsubscribe2 = key=a.com\nprocesess = 2", "router.ini:5: 'procesess': unknown option; did you"),
        ("socket = :0\nsubscribe2 = key=a.com\nfastrouter-x = 2", "router.ini:5: 'fastrouter-x': unknown option"),
        ("socket = :0\nsubscribe2 = key=a.com\ndaemonize = x", "router.ini:5: daemonize: refused"),
    ],
)
def test_mistakes_in_a_file_for_both(lines: str, said: str, ini: Callable[..., str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse([ini(f"[uwsgi]\nfastrouter = :3031\n{lines}\n")], dict(os.environ))
    assert said in str(caught.value)


def test_a_file_for_both_needs_a_uwsgi(ini: Callable[..., str]) -> None:
    file = ini("[uwsgi]\nfastrouter = :3031\nsocket = :0\nsubscribe2 = key=a.com\n")
    with pytest.raises(ConfigurationError, match="neither uwsgi nor pyuwsgi is on PATH"):
        parse([file], {"PATH": "/nowhere"})
    with pytest.raises(ConfigurationError, match="FASTROUTE_UWSGI=/no/such is no program"):
        parse([file], {"FASTROUTE_UWSGI": "/no/such"})


@pytest.mark.skipif(shutil.which("uwsgi") is None, reason="uwsgi is missing")
def test_no_option_of_the_real_uwsgi_is_taken_for_a_misspelt_one(ini: Callable[..., str]) -> None:
    text = subprocess.run(["uwsgi", "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^ +(?:-.\|)?--([a-z0-9-]+)", text, re.MULTILINE))
    assert len(options) > 400
    # Those that mean something to the router, or to the reading of the file itself.
    ours = re.compile(r"fastrouter.*|subscri.*|daemonize2?|ini|set(-ph|-placeholder)?|shared-socket|socket|uwsgi-socket"
                      r"|weight|uid|gid|vacuum")  # fmt: skip
    lines = [f"{name} = x" for name in sorted(options) if not ours.fullmatch(name)]
    file = ini("\n".join(["[uwsgi]", "fastrouter = :3031", "socket = :0", "subscribe2 = key=a.com", *lines, ""]))
    (worker,) = parse([file], dict(os.environ)).workers
    assert len(worker.uwsgi_options) > 400
