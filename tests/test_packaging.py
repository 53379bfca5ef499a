"""What is installed is what git has, and the relay starts small and fast."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("router", "controller", "ctl", "certs", "page", "templates")


def git_files(checkout: Path) -> set[str]:
    command = ["git", "ls-files", *ROOMS, "src"]
    listed = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    files = {line for line in listed.stdout.split() if not (checkout / line).is_symlink()}
    return {f"fastroute/{name.removeprefix('src/fastroute/')}" for name in files}


@pytest.mark.timeout(300)
def test_the_wheel_made_from_the_sdist_holds_the_files_that_git_has(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(checkout)], check=True)
    build = [sys.executable, "-m", "build", "-q", "--outdir", str(tmp_path), str(checkout)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fastroute/")}
    assert packed == git_files(checkout)


PROBE = """
import sys
before = set(sys.modules)
import {module}
third = sorted(
    name for name, module in sys.modules.items()
    if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(("fastroute", "__", "_"))
    and name not in before
)
resident = next(line for line in open("/proc/self/status") if line.startswith("VmRSS:"))
print(resident.split()[1], *third)
"""


def test_the_relay_imports_the_standard_library_only_and_stays_small() -> None:
    code = PROBE.format(module="fastroute.router.relay.main")
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    resident_kib, *third = done.stdout.split()
    assert third == []
    # DESIGN: each relay stays under 60 MB with 10,000 nodes; an interpreter with its modules may take a third of it.
    assert int(resident_kib) < 25_000, done.stdout


@pytest.mark.parametrize("module", ["sidecar", "supervisor"])
def test_announce_and_the_supervisor_import_the_standard_library_only(module: str) -> None:
    # cryptography is imported when --sign is given: test_signature.py signs with it.
    code = PROBE.format(module=f"fastroute.router.{module}.main")
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == []


def test_the_library_for_names_beyond_ascii_is_imported_when_one_is_met() -> None:
    code = (
        "import sys, fastroute.router.sidecar.main, fastroute.router.protocol.key as key\n"
        "assert key.parse_key('foo.com') and 'idna' not in sys.modules\n"
        "assert key.parse_key('b\xfccher.test') == 'xn--bcher-kva.test' and 'idna' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize(
    "program", ["fastroute-router", "fastroute-controller", "fastroute-certs", "fastroute-ctl", "fastroute-page"]
)
def test_every_program_knows_help_and_version(program: str) -> None:
    path = Path(sys.executable).with_name(program)
    for option, text in (("--help", "sage"), ("--version", "fastroute")):
        done = subprocess.run([str(path), option], capture_output=True, text=True)
        assert (done.returncode, text in done.stdout) == (0, True), done.stdout + done.stderr


def compiled_modules() -> list[Path]:
    """What setup.py compiles: the relay but for its entry, and the modules that it names."""
    rooms = re.findall(r'router / "(\w+)\.py"', (ROOT / "setup.py").read_text())
    relay = (path for path in (ROOT / "router/relay").rglob("*.py") if path.name not in ("__init__.py", "main.py"))
    return [*(ROOT / f"router/{name}.py" for name in rooms), *relay]


def test_no_compiled_function_gives_two_classes_of_errors_one_name() -> None:
    # mypyc gives a local variable one type: the second handler would raise TypeError instead of catching.
    twice = set()
    for path in compiled_modules():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                caught: dict[str, str] = {}
                for handler in ast.walk(function):
                    if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type:
                        classes = ast.unparse(handler.type)
                        if caught.setdefault(handler.name, classes) != classes:
                            twice.add(f"{path.name}: {function.name}: {handler.name}")
    assert twice == set()
