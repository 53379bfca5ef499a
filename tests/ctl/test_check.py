"""``check FILE`` and ``config show``: mistakes with their place before anything is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastroute.ctl import running

Ctl = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check(ctl: Ctl, tmp_path: Path) -> Callable[..., Any]:
    """Check a file with this text; places are cut to NAME:LINE."""

    def run(name: str, text: str, *options: str) -> Any:
        (tmp_path / name).write_text(text)
        ran = ctl("check", str(tmp_path / name), *options)
        return type(ran)(ran.code, ran.out.replace(f"{tmp_path}/", ""), ran.err.replace(f"{tmp_path}/", ""))

    return run


def test_the_stack_that_comes_with_it_is_right(ctl: Ctl) -> None:
    ran = ctl("check", str(ROOT / "compose.yaml"))
    assert (ran.code, ran.err) == (0, "")
    assert "2 services to route" in ran.out


def test_a_wrong_label_is_told_with_its_line_and_the_nearest_name(check: Any) -> None:
    text = "services:\n  web:\n    labels:\n      fastroute.key: foo.com\n      fastroute.wieght: 3\n"
    ran = check("compose.yaml", text)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == ("compose.yaml:5: service web: unknown label fastroute.wieght: did you mean fastroute.weight?\n")
    listed = "services:\n  web:\n    labels:\n    - fastroute.key=foo.com\n    - fastroute.port=http\n"
    assert check("compose.yaml", listed).err.startswith("compose.yaml:5: service web: label fastroute.port")
    problems = json.loads(check("compose.yaml", listed, "-o", "json").out)["problems"]
    assert [(one["level"], Path(one["at"]).name) for one in problems] == [("error", "compose.yaml:5")]


def test_labels_come_through_merge_keys_variables_extends_and_includes(check: Any, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "services:\n  base:\n    labels: {fastroute.key: foo.com, fastroute.port: '${PORT:-http}'}\n"
    )
    (tmp_path / "more.yaml").write_text(
        "x-labels: &labels\n  fastroute.kex: a.com\n"
        "services:\n  web:\n    extends: {file: base.yaml, service: base}\n  api:\n    labels: {<<: *labels}\n"
    )
    ran = check("compose.yaml", "include: [more.yaml]\n")
    assert ran.code == 2
    assert "base.yaml:3: service web: label fastroute.port: 'http'" in ran.err
    assert "more.yaml:2: service api: unknown label fastroute.kex: did you mean fastroute.key?" in ran.err
    (tmp_path / ".env").write_text("PORT=8000\n")
    assert "fastroute.port" not in check("compose.yaml", "include: [more.yaml]\n").err
    ran = check("compose.yaml", "services: {web: {extends: {file: base.yaml, service: x}}}")
    assert (ran.code, ran.err) == (2, "compose.yaml:1: extends: no service 'x' in base.yaml\n")


@pytest.mark.parametrize(
    ("service", "warning"),
    [
        ("{labels: {fastroute.key: a.com}}", "before the application is loaded"),
        ("{labels: {fastroute.key: a.com, fastroute.probe: /}}", ""),
        ("{labels: {fastroute.key: a.com}, healthcheck: {test: [CMD, true]}}", ""),
        ("{labels: {fastroute.key: a.com, fastroute.probe: /}, command: gunicorn app}", "gunicorn speaks HTTP"),
        ("{labels: {fastroute.key: a.com, fastroute.probe: /}, command: gunicorn --protocol uwsgi app}", ""),
        ("{labels: {fastroute.key: a.com, fastroute.probe: /}, command: uwsgi --socket :1}", "--die-on-term"),
        ("{labels: {fastroute.key: a.com, fastroute.probe: /}, command: uwsgi --die-on-term}", ""),
        (
            "{labels: {fastroute.key: a.com, fastroute.probe: /}, command: ["
            'uwsgi, --hook-master-start, "unix_signal:15 gracefully_kill_them_all"]}',
            "",
        ),
        ("{deploy: {labels: {fastroute.key: a.com}}}", "Swarm"),
    ],
)
def test_what_works_worse_than_it_looks_is_a_warning(check: Any, service: str, warning: str) -> None:
    ran = check("compose.yaml", f"services:\n  web: {service}\n")
    assert ran.code == 0
    assert ("compose.yaml:2: warning: service web: " in ran.err) == bool(warning)
    assert warning in ran.err


def test_configuration_files_of_the_programs_are_read_as_they_would(check: Any) -> None:
    assert check("f.yaml", "router: {listen: ['127.0.0.1:3031']}\ncontroller: {resync: 10}\n").code == 0
    ran = check("f.yaml", "router:\n  lisen: ':3031'\n")
    assert ran.code == 2
    assert ran.err.startswith("f.yaml:2: 'lisen': unknown option; did you mean")
    assert check("f.yaml", "controller:\n  resync: soon\n").err.startswith("f.yaml:2: ")
    assert check("f.ini", "[uwsgi]\nfastrouter = 127.0.0.1:3031\n").code == 0
    assert check("f.ini", "[uwsgi]\nfastrouter = 127.0.0.1:3031\nfastroter-cheap = 1\n").err.startswith("f.ini:3: ")


def test_a_static_file_is_read_as_the_controller_would(check: Any) -> None:
    assert "1 node" in check("s.yaml", "nodes:\n- {key: foo.com, address: '10.0.0.7:8000'}\n").out
    ran = check("s.yaml", "nodes:\n- {key: foo.com, adress: '10.0.0.7:8000'}\n")
    assert (ran.code, ran.err.startswith("s.yaml:2: ")) == (2, True)
    assert "did you mean" in ran.err


def test_a_workers_ini_without_die_on_term_is_warned_of(check: Any) -> None:
    worker = "[uwsgi]\nsocket = :3031\nwsgi-file = app.py\n"
    ran = check("w.ini", worker)
    assert ran.code == 0
    assert ran.err.startswith("w.ini:2: warning: no die-on-term = true")
    assert check("w.ini", worker + "die-on-term = true\n").err == ""
    assert check("w.ini", worker + "hook-master-start = unix_signal:15 gracefully_kill_them_all\n").err == ""
    ran = check("w.ini", worker + "die-on-term = 1\nsubscribe2 = server=127.0.0.1:3031\n")
    assert (ran.code, ran.err) == (2, "w.ini:5: subscribe2: key=HOST expected\n")


def test_a_workers_key_that_no_request_asks_for_is_an_error(check: Any) -> None:
    text = "[uwsgi]\nsocket = :0\ndie-on-term = 1\nsubscribe2 = server=127.0.0.1:3031,key={}\n"
    for written, read, meant in (("bücher.test", "bücher.test", "xn--bcher-kva.test"), ("a/%%61", "a/%61", "a/a")):
        ran = check("w.ini", text.format(written))
        why = f"key {read!r}: uWSGI announces it as it is written, and requests ask for {meant}: write that"
        assert (ran.code, ran.err) == (2, f"w.ini:4: subscribe2: {why}\n")


def test_config_shows_where_each_value_comes_from(ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTROUTE_RESYNC", "10")
    monkeypatch.setattr(running, "PROC", tmp_path)
    file = tmp_path / "f.yaml"
    file.write_text("controller:\n  heartbeat: 2\n")
    ran = ctl("config", "show", "controller", str(file), "--network", "web", "--origin", "-o", "json")
    assert ran.code == 0
    rows = {row["option"]: (row["value"], row["origin"]) for row in json.loads(ran.out)["options"]}
    assert rows["resync"] == ("10", "FASTROUTE_RESYNC")
    assert rows["heartbeat"] == ("2", f"{file}:2: heartbeat")
    assert rows["network"] == ("web", "fastroute-controller: --network")
    assert rows["mode"] == ("router", "default")
    assert ctl("config", "show").code == 2
    assert "'lots'" in ctl("config", "show", "controller", "--resync", "lots").err


def test_config_shows_what_the_program_that_runs_here_was_started_with(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cmdline").write_bytes(b"/usr/bin/python3\0/usr/bin/fastroute-router\0--processes\0003\0")
    (tmp_path / "1" / "environ").write_bytes(b"FASTROUTE_TIMEOUT=7\0")
    monkeypatch.setattr(running, "PROC", tmp_path)
    shown = ctl("config", "show", "--origin", "--changed").out.splitlines()
    assert [row.split() for row in shown[1:]] == [
        ["processes", "3", "fastroute-router:", "--processes"],
        ["timeout", "7", "FASTROUTE_TIMEOUT"],
    ]


def test_a_label_file_is_checked_with_its_own_lines(check: Any, tmp_path: Path) -> None:
    (tmp_path / "web.labels").write_text("# ours\nfastroute.key=${HOST:-${NAME:-foo.com}}\nfastroute.wieght=3\n")
    ran = check("compose.yaml", "services:\n  web: {label_file: web.labels}\n")
    assert (ran.code, ran.err) == (
        2,
        "web.labels:3: service web: unknown label fastroute.wieght: did you mean fastroute.weight?\n",
    )
    (tmp_path / "web.labels").write_text("# ours\nfastroute.key='foo.com\n")
    wrong = check("compose.yaml", "services:\n  web: {label_file: web.labels}\n")
    assert wrong.err.startswith("web.labels:2: the value \"'foo.com")
    (tmp_path / "web.labels").unlink()
    assert "web.labels: cannot be read" in check("compose.yaml", "services:\n  web: {label_file: web.labels}\n").err


def test_a_variable_that_compose_would_refuse_is_told_with_its_line(check: Any) -> None:
    text = "services:\n  web:\n    labels:\n      fastroute.key: {}\n"
    ran = check("compose.yaml", text.format("${HOST:?who are you}"))
    assert (ran.code, ran.err) == (2, "compose.yaml:4: required variable HOST is missing a value: who are you\n")
    assert check("compose.yaml", text.format("${HOST:-${NAME")).err.startswith(
        "compose.yaml:4: '${HOST:-${NAME': a '}'"
    )


def test_a_key_that_hides_a_wildcard_while_it_is_stopped_is_warned_of(check: Any) -> None:
    text = (
        "services:\n"
        "  any: {labels: {fastroute.key: '*.foo.com', fastroute.probe: /{}}}\n"
        "  shop:\n    labels:\n      fastroute.key: shop.foo.com\n      fastroute.probe: /\n"
    )
    ran = check("compose.yaml", text.replace("{}", ""))
    assert (ran.code, ran.err) == (
        0,
        "compose.yaml:5: warning: service shop: while it is stopped, shop.foo.com is answered 503 and not by service"
        " any, which serves *.foo.com; if that one should, label it fastroute.rest.key: shop.foo.com and"
        " fastroute.rest.backup: 1\n",
    )
    cured = text.replace("{}", ", fastroute.rest.key: shop.foo.com, fastroute.rest.backup: 1")
    assert check("compose.yaml", cured).err == ""


WEB = (
    "{{labels: {{fastroute.key: a.com, fastroute.probe: /, fastroute.protocol: http, fastroute.max: {}}}, command: {}}}"
)


@pytest.mark.parametrize(
    ("limit", "command", "warning"),
    [
        (4, "gunicorn --workers 2 --threads 2 app", ""),
        (3, "gunicorn -w2 --threads=2 app", "could run 4 requests at once (--workers 2 --threads 2): some idle"),
        (5, "gunicorn -w 2 --threads 2 app", "only 4 requests run at once (--workers 2 --threads 2)"),
        # A configuration file may say more, and other classes take as many as come.
        (5, "gunicorn -c conf.py -w 2 --threads 2 app", ""),
        (3, "gunicorn -c conf.py -w 2 --threads 2 app", "some idle"),
        (100, "gunicorn -w 4 -k uvicorn.workers.UvicornWorker app", ""),
        (100, "gunicorn --worker-class=gevent -w 4 app", ""),
        (3, "gunicorn --worker-class=gevent -w 4 app", "some idle"),
        (100, "gunicorn app", ""),
        (9, "uwsgi --die-on-term --http-socket :80 -p 2 --threads 4", "only 8 requests run at once"),
        (9, "uwsgi --die-on-term --http-socket :80 --http-workers 9 --workers 2 --threads 4", "only 8 requests"),
        (9, "uwsgi --die-on-term --ini app.ini -p 2 --threads 4", ""),
        (7, "uwsgi --die-on-term --ini app.ini -p 2 --threads 4", "some idle"),
        (200, "uwsgi --die-on-term --http-socket :80 --processes 2 --gevent 100", ""),
        (64, "uvicorn app:app --workers 4", ""),
        (2, "uvicorn app:app --workers 4", "could run 4 requests at once (--workers 4): some idle"),
        (50, "uvicorn app:app --limit-concurrency 50", "uvicorn answers 503 itself to connections above 50"),
        (40, "uvicorn app:app --limit-concurrency 50", ""),
        (5, "waitress-serve --threads=4 app:app", "only 4 requests"),
        (5, "['sh', '-c', 'exec gunicorn --workers 4 app']", "only 4 requests"),
        (5, "python -m gunicorn --workers 4 app", "only 4 requests"),
        (5, "python app.py --workers 4", ""),
        (5, "gunicorn --workers nonsense --threads 4 app", ""),
        (5, "gunicorn --workers 0 --threads 99999999999 app", ""),
    ],
)
def test_a_max_beside_the_workers_own_concurrency_is_warned_of(
    check: Any, limit: int, command: str, warning: str
) -> None:
    ran = check("compose.yaml", f"services:\n  web: {WEB.format(limit, command)}\n")
    assert ran.code == 0
    assert ran.err.startswith(f"compose.yaml:2: warning: service web: max {limit}: " if warning else "")
    assert warning in ran.err
    assert bool(ran.err) == bool(warning), ran.err


def test_the_workers_variables_count_and_the_label_has_the_line(check: Any) -> None:
    text = (
        "services:\n  web:\n    command: gunicorn app\n    environment:\n      {}\n    labels:\n"
        "      fastroute.key: a.com\n      fastroute.probe: /\n      fastroute.protocol: http\n      fastroute.max: 2\n"
    )
    for variable in ("WEB_CONCURRENCY: 4", "GUNICORN_CMD_ARGS: --workers=2 --threads=2", "- WEB_CONCURRENCY=4"):
        ran = check("compose.yaml", text.format(variable))
        assert ran.err.startswith("compose.yaml:10: warning: service web: max 2: its workers could run 4 requests")


def test_a_wait_above_what_nginx_waits_is_warned_of(check: Any, tmp_path: Path) -> None:
    web = "  web:\n    labels: {fastroute.key: a.com, fastroute.probe: /, fastroute.wait: 90}\n"
    at = "compose.yaml:3: warning: service web: wait 90 s: "
    assert check("compose.yaml", f"services:\n{web}").err.startswith(
        f"{at}nginx and many load balancers give up after 60"
    )
    assert check("compose.yaml", f"services:\n{web.replace('90', '59')}").err == ""
    nginx = "  nginx:\n    volumes: ['./my.conf:/etc/nginx/nginx.conf:ro']\n"
    (tmp_path / "my.conf").write_text(
        "# uwsgi_read_timeout 10s;\nlocation / { uwsgi_read_timeout 2m; uwsgi_pass x; }\n"
    )
    assert check("compose.yaml", f"services:\n{web}{nginx}").err == ""
    (tmp_path / "my.conf").write_text("location / { uwsgi_pass x; } location /b { proxy_read_timeout 30; }\n")
    ran = check("compose.yaml", f"services:\n{web.replace('90', '30')}{nginx}")
    assert "wait 30 s: nginx gives up after 30 (my.conf)" in ran.err
    (tmp_path / "my.conf").write_text("location / { uwsgi_pass x; }\n")
    assert "give up after" not in check("compose.yaml", f"services:\n{web}{nginx}").err
    assert "(my.conf has no read_timeout)" in check("compose.yaml", f"services:\n{web}{nginx}").err


def test_a_wait_of_the_router_is_looked_at_too(check: Any) -> None:
    text = "services:\n  router:\n    environment: {{FASTROUTE_WAIT: {}}}\n"
    assert check("compose.yaml", text.format(60)).err.startswith("compose.yaml:3: warning: service router: wait 60 s: ")
    assert check("compose.yaml", text.format(15)).err == ""
    ran = check("compose.yaml", text.format("soon"))
    assert (ran.code, ran.err) == (
        2,
        "compose.yaml:3: service router: FASTROUTE_WAIT: 'soon': a time from 0 to 600 s expected (like 15, 15s or"
        " 500ms)\n",
    )
    ran = check("f.yaml", "router:\n  wait: 2m\n")
    assert (ran.code, ran.err.startswith("f.yaml:2: warning: wait 120 s: nginx and many")) == (0, True)


def test_the_stacks_own_nginx_waits_longer_than_any_request(check: Any) -> None:
    text = f"include: [{ROOT}/compose.yaml]\nservices:\n  web: {{labels: {{fastroute.key: a.com, fastroute.wait: 600,"
    assert check("compose.yaml", text + " fastroute.probe: /}}\n").err == ""
