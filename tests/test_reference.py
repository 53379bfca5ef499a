"""docs/reference/ is true: its tables are those of the code, and nothing points to a file that is not here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from support.programs import Controller, Router, listens, wait_for

from fastroute.controller import admin as controller_admin
from fastroute.controller.decide import labels
from fastroute.ctl import errors
from fastroute.router.config import uwsgi_options
from fastroute.router.control import admin as router_admin
from fastroute.router.protocol.node_options import ALL_SETTINGS
from fastroute.router.relay.replies import STATUS

#: Where the code is.
ROOMS = ("router", "controller", "ctl", "certs", "page", "templates")
TOP = Path(__file__).resolve().parent.parent
REFERENCE = TOP / "docs/reference"
_FOLDERS = "|".join((*ROOMS, "tests", "scripts", "compose", "benchmarks", "docs"))
_FILE = re.compile(rf"`((?:{_FOLDERS})/[\w./-]*\w/?)`")
_CELL = re.compile(r"^\| ([^|]*(?:\\\|[^|]*)*) \|", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_PAGE = re.compile(r"[\w./-]*\b[\w-]+\.md\b")


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def section(name: str, heading: str) -> str:
    """The text of ``name`` below ``heading``, up to the next heading of its level."""
    return page(name).split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def names(text: str, pattern: str) -> set[str]:
    """The words like ``pattern`` in the first cells of the tables of ``text``."""
    return {word for cell in _CELL.findall(text) for word in re.findall(pattern, cell)}


def test_the_generated_tables_are_what_the_code_says() -> None:
    check = subprocess.run(
        [sys.executable, str(TOP / "scripts/reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_the_labels_of_the_readme_are_there() -> None:
    cells = names((TOP / "README.md").read_text(), r"^`fastroute\.(\w+)`")
    assert cells
    assert cells <= set(labels.LABELS)


def test_every_status_that_the_router_gives_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d+).*? \| `([a-z-]+)` \|", section("requests.md", "When no worker answers"), re.MULTILINE)
    assert {kind: int(status) for status, kind in rows} == {kind: int(line[:3]) for kind, line in STATUS.items()}


def test_every_option_of_a_uwsgi_ini_is_in_the_table() -> None:
    known = set(uwsgi_options._MEANS) | {"fastrouter-buffer-size", "shared-socket"}
    assert names(section("router.md", "Options of a uWSGI INI"), r"`([a-z]+[a-z-]*)`") == known


def test_every_kind_of_event_that_is_listed_exists() -> None:
    rows = section("http.md", "`/v1/events`").split("| | kinds |", 1)[1]
    kinds = set(re.findall(r"`([a-z-]+)`", rows))
    code = "".join(file.read_text() for room in ("router", "controller") for file in (TOP / room).rglob("*.py"))
    assert kinds
    assert {kind for kind in kinds if f'"{kind}"' not in code} == set()


def test_every_setting_of_a_node_is_in_the_tables_of_the_wire() -> None:
    plain = names(section("wire.md", "Plain packet: one node"), r"`(\w+)`")
    assert {setting.wire for setting in ALL_SETTINGS} - plain == set()


def test_exit_codes_are_in_the_table() -> None:
    codes = re.findall(r"^\| (\d) \|", section("ctl.md", "Exit codes"), re.MULTILINE)
    assert [int(code) for code in codes] == list(range(errors.TIMED_OUT + 1))


def endpoints(app: Starlette) -> set[str]:
    return {
        method + " " + _PARAMETER.sub(lambda match: match[1].upper(), route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


def test_every_endpoint_of_router_and_controller_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([A-Z]+ /\S+)` \| (\w*) ?\| (\w*) ?\|", section("http.md", "Endpoints"), re.MULTILINE)
    nobody = cast(Any, None)
    assert {path for path, yes, _ in rows if yes} == endpoints(router_admin.make_app(nobody))
    assert {path for path, _, yes in rows if yes} == endpoints(controller_admin.make_app(nobody, nobody))


def exported(port: int) -> set[str]:
    """Names of the metrics at ``port``, counters with the ending that samples have."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    families = text_string_to_metric_families(text)
    return {f"{one.name}_total" if one.type == "counter" else one.name for one in families if not created(one.name)}


def created(name: str) -> bool:
    """Whether prometheus-client made it: when a histogram began."""
    return name.endswith("_created")


def test_every_metric_is_in_the_tables(tmp_path: Path) -> None:
    parts = ("Router", "Controller", "Controller in nginx mode")
    router, controller, nginx = (names(section("metrics.md", part), "^`(fastroute_[a-z_]+)`$") for part in parts)
    late = {name for name in controller if "missing before the first" in _row(name)}
    mode = ("--mode", "nginx", "--nginx-conf-dir", str(tmp_path), "--nginx-test", "true",
            "--nginx-reload", "command:true")  # fmt: skip
    engine = f"unix://{tmp_path}/no-engine.sock"
    with Router() as ours, Controller(engine, ours) as push, Controller(engine, ours, *mode) as render:
        for port in (push.admin_port, render.admin_port):
            wait_for(lambda port=port: listens(port), "the controller's admin answers")
        assert exported(ours.admin_port) == router
        assert exported(push.admin_port) | late == controller
        assert exported(render.admin_port) | late == controller | nginx


def _row(name: str) -> str:
    """The line of the table that is about ``name``."""
    return next(line for line in page("metrics.md").splitlines() if line.startswith(f"| `{name}` |"))


def texts() -> Iterator[Path]:
    """Every text file of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        file = TOP / name
        if file.is_file() and not file.is_symlink() and file.suffix in (".py", ".md", ".sh", ".yaml", ".yml", ".toml"):
            yield file


@pytest.mark.skipif(not (TOP / ".git").exists(), reason="what is ours is what git has")
def test_no_page_is_named_that_is_not_in_the_repository() -> None:
    bare = {file.name for file in texts()}
    missing = []
    for file in texts():
        for named in _PAGE.findall(file.read_text()):
            if named not in bare and not any((place / named).is_file() for place in (file.parent, TOP)):
                missing.append(f"{file.relative_to(TOP)}: {named}")
    assert not missing, "\n".join(missing)


def test_the_map_of_the_architecture_names_each_folder_and_no_file_that_is_not_there() -> None:
    text = (TOP / "docs/architecture.md").read_text()
    folders = {f"{file.parent.relative_to(TOP)}/" for room in ROOMS for file in (TOP / room).rglob("*.py")}
    rows = re.findall(r"^\| `([a-z_/]+/)` \| .* \| (.*) \|$", text, re.MULTILINE)
    assert folders - {"templates/"} <= {folder for folder, _ in rows}
    begin = [f"{folder}{file}" for folder, files in rows for file in re.findall(r"`([\w.]+)`", files)]
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))
    assert [file for file in begin if not (TOP / file).is_file()] == []
    files = [f"/{file.relative_to(TOP)}" for room in (*ROOMS, "tests") for file in (TOP / room).rglob("*.py")]
    assert {name for name in named if not any(file.endswith(f"/{name}") for file in files)} == set()


def test_every_file_that_the_pages_name_is_there() -> None:
    missing = []
    for file in (one for one in texts() if one.suffix == ".md"):
        for named in _FILE.findall(file.read_text()):
            if not any((place / named).exists() for place in (TOP, file.parent, *(TOP / room for room in ROOMS))):
                missing.append(f"{file.relative_to(TOP)}: {named}")
    assert not missing, "\n".join(missing)


def test_every_type_of_the_glossary_exists() -> None:
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| (?:`(\w+)` )?\|$", (TOP / "docs/glossary.md").read_text(), re.MULTILINE)
    code = "\n".join(file.read_text() for room in ROOMS for file in (TOP / room).rglob("*.py"))
    classes = set(re.findall(r"^class (\w+)", code, re.MULTILINE))
    assert len(rows) >= 40
    assert {name for name in rows if name} - classes == set()


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings of ``text``."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for file in (one for one in texts() if one.suffix == ".md"):
        for link in _LINK.findall(re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)):
            path, _, anchor = link.partition("#")
            target = file.parent / path if path else file
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                broken.append(f"{file.relative_to(TOP)}: {link}")
    assert not broken, "\n".join(broken)


def test_prose_is_at_most_120_columns_wide() -> None:
    wide = []
    for file in (one for one in texts() if one.suffix == ".md" and one.name != "benchmarks.md"):
        prose = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), file.read_text(), flags=re.DOTALL)
        for number, line in enumerate(prose.splitlines(), 1):
            if len(line) > 120 and not line.startswith(("|", "![")):
                wide.append(f"{file.relative_to(TOP)}:{number}")
    assert not wide, "\n".join(wide)


def test_no_default_is_empty() -> None:
    for page in (TOP / "docs" / "reference").glob("*.md"):
        text = page.read_text()
        assert "(default: )" not in text, page.name
        assert "` |  | " not in text, page.name
