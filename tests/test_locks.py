"""requirements/*.lock: every file by its hash, and all that pyproject.toml asks for, in its ranges."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIME = PROJECT["project"]["dependencies"]
BUILD = PROJECT["build-system"]["requires"]
COMPILER = re.findall(r'^MYPY = "(.*)"$', (ROOT / "setup.py").read_text(), re.M)


def locked(name: str) -> dict[str, str]:
    """Package -> version; each has a hash."""
    found = {}
    text = (ROOT / "requirements" / f"{name}.lock").read_text().replace("\\\n", " ")
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        package, version = re.match(r"([\w.-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
        found[canonicalize_name(package)] = version
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("runtime", RUNTIME),
        ("certs", [*RUNTIME, *EXTRAS["certs"]]),
        ("development", [*RUNTIME, *EXTRAS["certs"], *EXTRAS["test"], *EXTRAS["check"], *BUILD, *COMPILER]),
        ("build", [*BUILD, *COMPILER]),
        ("demo", [one for one in EXTRAS["test"] if one.startswith("gunicorn")]),
    ],
)
def test_what_is_asked_for_is_locked_in_its_range_and_the_same_everywhere(name: str, wanted: list[str]) -> None:
    found = locked(name)
    assert wanted
    for one in map(Requirement, wanted):
        version = found.get(canonicalize_name(one.name))
        assert version is not None, f"{one} is not in requirements/{name}.lock: run scripts/lock.sh"
        assert one.specifier.contains(version), f"{one}, but {version} is locked: run scripts/lock.sh"
    everything = locked("development")
    assert {package: everything.get(package) for package in found} == found
