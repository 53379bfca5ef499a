"""FILE in YAML: every mistake has its line, and no bytes do harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import MAX_FILE, read_section, sections_of
from fastroute.router.config.options import PROGRAM, parse
from fastroute.router.config.settings import Settings

#: The machine may be busy: time is not what these examples are about.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[str | bytes], str]:
    def refuse(text: str | bytes) -> str:
        file = tmp_path / "r.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigurationError) as caught:
            parse([str(file)], {})
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value).removeprefix(f"{tmp_path}/")

    return refuse


def test_scalars_and_lists_are_taken_and_the_controllers_section_is_not_ours(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("""
controller: {anything: [goes]}
router:
  listen: /run/front.sock
  subscription-server: [127.0.0.1:1, "/run/sub.sock"]
  admin: none
  cheap: yes
  timeout: 1.5
  tolerance: 5m
  node: [foo.com=127.0.0.1:8000]
""")
    read = parse([str(file)], {})
    assert [str(one) for one in read.listen + read.subscription_server] == [
        "/run/front.sock",
        "127.0.0.1:1",
        "/run/sub.sock",
    ]
    assert (read.admin, read.cheap, read.timeout, read.tolerance) == (None, True, 1.5, 300)
    assert read.node[0].key == "foo.com"


@pytest.mark.parametrize("text", ["", "# nothing", "router:", "router: {}", "---\n", "controller: {}", "workers: []"])
def test_saying_nothing_means_the_defaults(text: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    assert parse([str(file)], {}) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("router:\n  listn: x", "r.yaml:2: 'listn': unknown option; did you mean listen?"),
        ("router:\n  listen_mode: x", "r.yaml:2: 'listen_mode': unknown option; did you mean listen-mode?"),
        ("router:\n  vacuum: true", "r.yaml:2: 'vacuum': unknown option"),
        ("\nrotuer: {}", "r.yaml:2: 'rotuer': unknown section; did you mean router:?"),
        ("listen: 127.0.0.1:1", "'listen': unknown section; router, controller, workers, certs, page expected"),
        ("router:\n  timeout: 1\n  timeout: 2", "r.yaml:3: 'timeout' is given twice, first at "),
        ("router: {}\nrouter: {}", "r.yaml:2: 'router' is given twice"),
        ("router: [a]", "r.yaml:1: options of router: expected, a list found"),
        ("router: 5", "r.yaml:1: options of router: expected, the value '5' found"),
        ("- router", "r.yaml:1: sections router:, controller:, workers:, certs:, page: expected, a list found"),
        ("router:\n  timeout: [1]", "r.yaml:2: timeout: only one value expected, a list found"),
        ("router:\n  timeout: {a: 1}", "r.yaml:2: timeout: a value (S) expected, a mapping found"),
        ("router:\n  timeout:", "r.yaml:2: timeout: a value (S) expected, no value found"),
        (
            "router:\n  timeout: yes",
            "r.yaml:2: timeout: a value (S) expected, yes or no found (put 'yes' in quotes if meant)",
        ),
        ("router:\n  timeout: !!binary aa", "r.yaml:2: timeout: a value (S) expected, a value tagged"),
        ("router:\n  timeout: !x aa", "r.yaml:2: timeout: a value (S) expected, a value tagged '!x' found"),
        ("router:\n  cheap: 5", "r.yaml:2: cheap: '5': true or false expected"),
        ("router:\n  listen:\n  - 127.0.0.1:1\n  - nonsense", "r.yaml:4: listen: 'nonsense' is no address"),
        ("router:\n  listen: 3031", "r.yaml:2: listen: '3031' is no address"),
        ("router:\n  listen: []", "listen: at least one ADDR to listen on expected"),
        ("router:\n  listen: [[a]]", "r.yaml:2: listen: a value (ADDR) expected, a list found"),
        ("router:\n  [a]: b", "r.yaml:2: a name expected, a list found"),
        ("router:\n\ttimeout: 1", "r.yaml:2: no valid YAML: found character"),
        ("router: {\n", "r.yaml:2: no valid YAML: "),
        ("a: b\n---\nc: d", "r.yaml:2: no valid YAML: "),
        ("router: *nothing", "r.yaml:1: no valid YAML: found undefined alias"),
        (b"router:\n  state-dir: \xff\xfe", "r.yaml:2: byte 0xff is not UTF-8 text"),
        (b"router:\n\n  a: \x07", "r.yaml:3: character"),
        ('a: "\\UFFFFFFFF"', "r.yaml:1: no valid YAML"),
        ("[" * 5000, "r.yaml:1: no valid YAML: nested too deeply"),
        (b"#" * (MAX_FILE + 1), "r.yaml: over 1,048,576 bytes"),
        ("workers: {}", "r.yaml:1: workers: a list expected"),
        ("workers:\n- {name: a, key: a.com}", "r.yaml:2: workers: command is missing"),
        ("workers:\n- {nmae: a}", "r.yaml:2: 'nmae': unknown option; did you mean name?"),
        ("workers:\n- {name: a, key: a.com, command: x}", "a command with {port} in it expected"),
        (
            "workers:\n- {name: a, key: a.com, command: 'x {prot}'}",
            "'{prot}': only {port} is replaced; did you mean port?",
        ),
        ("workers:\n- {name: a, key: a.com, command: 'x {port}', probe: http}", "r.yaml:2: probe: 'http': tcp, none"),
        ("workers:\n- {environment: [a]}", "r.yaml:2: environment: variables (NAME: value) expected, a list found"),
        (
            "workers:\n- &a {name: a, key: a.com, command: 'x {port}'}\n- *a",
            "r.yaml:2: 'a' is given twice, first at ",
        ),
    ],
)
def test_a_wrong_file_is_explained_with_its_line(
    text: str | bytes, said: str, refused: Callable[[str | bytes], str]
) -> None:
    assert said in refused(text)


def test_aliases_are_values_but_no_bomb(refused: Callable[[str | bytes], str]) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(12)
    )
    assert "unknown section" in refused(bomb)
    assert "a value (ADDR) expected, a list found" in refused("router:\n  listen: &x [*x]")


@UNTIMED
@given(
    st.binary(max_size=200)
    | st.text(alphabet="router:listen -[]{}&*!|>%@`\"'\\\n\t#,?=<~0\u0085\u2028U", max_size=80).map(str.encode)
    | st.tuples(st.sampled_from(["router:\n  listen: ", "router: {", "workers:\n- "]), st.text(max_size=30)).map(
        lambda parts: "".join(parts).encode()
    )
)
@example(b"%YAML " + b"9" * 5000 + b".1\n---\na")
@example(b'"\\xZZ"')
@example(b"? - ? :\n")
def test_whatever_the_bytes_only_configuration_errors_come_out(data: bytes) -> None:
    said = "fine"
    try:
        read_section(PROGRAM, sections_of(data, "r.yaml").get("router"), "r.yaml")
    except ConfigurationError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


def test_workers_are_settings_and_survive_their_way_to_the_supervisor(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        "workers:\n- {name: a, key: [A.com, b.com], command: 'x {port}', count: 2, environment: {A: yes}, probe: /up}\n"
    )
    settings = parse([str(file)], {})
    (worker,) = settings.workers
    assert (worker.key, worker.count, worker.probe) == (("a.com", "b.com"), 2, "/up")
    assert worker.environment == (("A", "yes"),)
    assert (worker.cwd, worker.restart) == (str(tmp_path), "always")
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_a_relative_cwd_begins_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    file = tmp_path / "site.yaml"
    file.write_text("workers:\n- {name: a, key: a.com, command: 'x {port}', cwd: web}\n")
    assert parse([str(file)], {}).workers[0].cwd == str(tmp_path / "web")
    file.write_text("workers:\n- {name: a, key: a.com, command: 'x {port}', cwd: wed}\n")
    with pytest.raises(ConfigurationError, match=r"site.yaml:2: cwd: '.*/wed': a directory that can be read expected"):
        parse([str(file)], {})


def test_workers_and_a_run_dir_do_not_go_together(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("workers:\n- {name: a, key: a.com, command: 'x {port}'}\n")
    with pytest.raises(ConfigurationError, match="no other can take over"):
        parse([str(file), "--run-dir", str(tmp_path)], {})
