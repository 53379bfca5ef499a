"""``check`` fills in what docker compose fills in: ``docker compose config``, which needs no engine, is the oracle.

Compose is asked once for many texts, as one call costs 0.1 s; what it refuses stops a whole file, so those are asked
one by one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.ctl.compose_file import ComposeReader
from fastroute.ctl.compose_text import ComposeProblem, interpolated, read_env_file
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import read_file

ENVIRON = {"S": "set", "E": "", "TAG": "v1.2"}
LABEL_FILES = [
    "a=1\r\nb=2\r\n",
    "a = 1 \nb=  x y  \n",
    "a=x#c\nb=x #c\nc=#c\n",
    'a="x#c" #d\nb="x\\ny"\nc="x\ny"\n',
    "a='x\ny'\nb='x\\ny'\n",
    "a=$S\nb=${A:-d}\nc='$S'\nd=\"$S\"\ne=$a\n",
    "S\nT\n",
    "a b=1\n",
    "a: 1\nb:2\n",
    "export a=1\n export b = 2\n",
    'a="x\n',
    "a='x\n",
    'a=x"y"\n',
    'a="x"y\n',
    'a=\\$S\nb="\\$S"\n',
    "a=1\na=2\n",
    "\ufeffa=1\n",
    "a=${A:?no}\n",
    "a=${A\n",
    "  a=1\n\tb=2\n",
    "a=x\\ny\n",
    "a=$$S\n",
    'a="it\'s"\nb=\'say "hi"\'\n',
    "fastroute.key=a.test, b.test\n",
    "a='x' # c\n",
    "a=\n b=2\n",
    "ü=1\na=ü\n",
    'a="\\"q\\""\n',
    "a==b=c\n",
    "a=b: c\n",
    "a: b=c\n",
    "a\\=b\n",
    "a=1\nb=$a\nc=${a}x\n",
    "a='it\\'s'\n",
    'a="x\\ty\\\\z\\q\\rz"\n',
    'a="x"y=2\n',
    "a= #c\nb=2\n",
    "a[0]=1\n",
    'a="x$a${B-y}\\${A}"\n',
    "export a\nb=1\n",
    "fastroute.key=${A:-${B:-x.test}}\n",
    "# c\n\na=1",
    "",
]
SCALARS = [
    "1.0",
    "0x1F",
    "0o17",
    "017",
    "08",
    "1_000",
    "yes",
    "True",
    "~",
    "1e3",
    ".5",
    "+5",
    "8000",
    "0b11",
    "1:30",
    "off",
    "''",
    "'1.0'",
    "1.10",
    "-0",
    "foo.com",
    '"8000"',
    "12345678901234567890",
]


def compose(folder: Path, text: str) -> dict[str, dict[str, str]] | None:
    """The labels of each service; None: compose refuses the file."""
    (folder / "compose.yaml").write_text(text, "utf-8")
    command = ["docker", "compose", "-f", str(folder / "compose.yaml"), "config", "--format", "json"]
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **ENVIRON}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    if done.returncode:
        assert "services" in done.stderr or "label file" in done.stderr or "l.env" in done.stderr, done.stderr
        return None
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    # What it prints is a compose file again, with its dollars escaped.
    return {
        name: {label: (value or "").replace("$$", "$") for label, value in (one.get("labels") or {}).items()}
        for name, one in services.items()
    }


def ours(folder: Path) -> dict[str, dict[str, str]] | None:
    """The same, as ``check`` reads the file."""
    try:
        services = ComposeReader(read_file, ENVIRON).services(str(folder / "compose.yaml"))
    except ConfigurationError:
        return None
    return {one.name: {name: value for name, (value, _) in one.labels.items()} for one in services}


@pytest.fixture(autouse=True, scope="module")
def oracle() -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not here")


def with_label(**labels: str) -> str:
    return json.dumps({"services": {"web": {"image": "x", "labels": labels}}})


PIECES = st.sampled_from(
    ["$", "{", "}", "${", "$$", "A", "S", "E", ":-", "-", "+", ":+", "?", "x", " ", ":", "${A:-", "é"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PIECES, max_size=9).map("".join), min_size=40, max_size=60))
def test_variables_are_filled_in_as_compose_does(tmp_path: Path, texts: list[str]) -> None:
    fine, refused = {}, []  # type: ignore[var-annotated]
    for text in texts:
        try:
            fine[f"l{len(fine)}"] = (text, interpolated(text, ENVIRON))
        except ComposeProblem:
            refused.append(text)
    found = compose(tmp_path, with_label(**{name: text for name, (text, _) in fine.items()}))
    assert found is not None
    assert {name: value for name, (_, value) in fine.items()} == found["web"]
    for text in refused[:2]:
        assert compose(tmp_path, with_label(text=text)) is None, text


@pytest.mark.parametrize(
    "text",
    [
        "${A:-${B:-x}}",
        "${A:-{x}}",
        "${A:-{x}",
        "${A:?no}",
        "${A?}",
        "${S:+${B:-y}}z${S+q}",
        "${A:=x}",
        "${S:?${A:?nested}}",
        "${A:-${B:?why}}",
        "${S:-${B:?why}}",
        "${A-${B+x}}y}",
        "${A:-${}}",
        "${S:-${}}",
        "${1}",
        "$1",
        "${A:-x\ny}z",
        "$(x)",
    ],
)
def test_nested_defaults_and_what_is_required(tmp_path: Path, text: str) -> None:
    assert compose(tmp_path, with_label(text=text)) == ours(tmp_path)


def test_plain_scalars_are_written_as_compose_writes_them(tmp_path: Path) -> None:
    labels = "".join(f"\n      l{number}: {text}" for number, text in enumerate(SCALARS))
    assert compose(tmp_path, f"services:\n  web:\n    image: x\n    labels:{labels}\n") == ours(tmp_path)


@pytest.mark.parametrize("text", LABEL_FILES)
def test_a_label_file_is_read_as_compose_does(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.env").write_bytes(text.encode())
    found = compose(tmp_path, "services: {web: {image: x, label_file: l.env}}")
    assert found == ours(tmp_path)
    if found is not None:
        assert found["web"] == {name: value for name, (value, _) in read_env_file(text, {}).items()}


def test_label_files_give_way_to_labels_also_to_those_of_the_service_extended(tmp_path: Path) -> None:
    (tmp_path / "b.env").write_text("a=f1\nd=f1\nx=f1\n")
    (tmp_path / "w.env").write_text("a=f2\nb=f2\nc=f2\nx=f2\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "i.yaml").write_text(
        "services: {other: {image: x, label_file: l.env, labels: {q: '${X:-n} ${Y:-n} ${S}'}}}"
    )
    (tmp_path / "sub" / "l.env").write_text("k=v\n")
    (tmp_path / "sub" / ".env").write_text("X=sub\nY=sub\nS=sub\n")
    (tmp_path / ".env").write_text("Y='$S top' # really\n")
    text = {
        "include": ["sub/i.yaml"],
        "services": {
            "base": {"image": "x", "labels": {"a": "l1", "c": "base"}, "label_file": "b.env"},
            "web": {"extends": {"service": "base"}, "label_file": ["${FILE:-w}.env"], "labels": ["b=${Y}", "z"]},
        },
    }
    assert compose(tmp_path, yaml.safe_dump(text)) == ours(tmp_path)
