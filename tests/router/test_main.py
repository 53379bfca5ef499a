"""The program as a shell sees it: exit codes, one line, standard output or error, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastroute

PROGRAMS = ["router", "controller"]


def run(program: str, *argv: str, code: str = "") -> subprocess.CompletedProcess[str]:
    start = f"import sys; from fastroute.{program}.main import main; sys.exit(main())"
    # Nothing of the caller's environment but where the package is, installed or not.
    environ = {"PYTHONPATH": str(Path(fastroute.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code or start, *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environ,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version_go_to_standard_output(program: str) -> None:
    for flag, begin in (("--help", f"Usage: fastroute-{program} [FILE]"), ("--version", f"fastroute-{program} ")):
        done = run(program, flag)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(begin)


@pytest.mark.parametrize("program", PROGRAMS)
def test_bad_usage_is_one_line_on_standard_error_and_exit_2(program: str) -> None:
    done = run(program, "--admn", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fastroute-{program}: '--admn': unknown option; did you mean --admin?\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bad_file_is_said_with_its_line_first(program: str, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"{program}:\n  admin: nonsense\n")
    done = run(program, str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"{file}:2: admin: 'nonsense' is no address")
    assert done.stderr.count("\n") == 1


def test_a_socket_that_cannot_be_opened_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "front").write_text("")
    done = run("router", "--listen", f"{tmp_path}/front", "--subscription-server", "none", "--admin", "none")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"cannot listen on {tmp_path}/front: it exists and is no socket; remove it or choose another path\n"
    )


def test_a_wrong_option_is_found_before_any_socket_is_opened(tmp_path: Path) -> None:
    assert run("router", "--listen", f"{tmp_path}/front", "--timeout", "never").returncode == 2
    assert not (tmp_path / "front").exists()


def test_the_relay_can_read_settings_and_log_without_yaml() -> None:
    code = (
        "import sys; import fastroute.router.config.settings\n"
        "import fastroute.router.runtime.logs, fastroute.router.runtime.listen\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('yaml', 'starlette', 'uvicorn', 'asyncio')])"
    )
    assert run("router", code=code).stdout == "[]\n"
