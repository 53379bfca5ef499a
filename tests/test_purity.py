"""A module that calls itself pure is held to it: the import contract in pyproject.toml names it."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

_TOP = Path(__file__).parents[1]
#: The beginning of the contract's name, and what it is about.
_CONTRACTS = {"controller": "pure means pure: no", "router": "pure means pure, in the router",
              "certs": "pure means pure, in certs", "page": "pure means pure, in page"}  # fmt: skip


@pytest.mark.parametrize("room", _CONTRACTS)
def test_every_module_that_calls_itself_pure_is_in_the_import_contract(room: str) -> None:
    project = tomllib.loads((_TOP / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["name"].startswith(_CONTRACTS[room]))
    covered = set(contract["source_modules"])
    unchecked = []
    for file in sorted((_TOP / room).rglob("*.py")):
        name = ".".join(("fastroute", *file.relative_to(_TOP).with_suffix("").parts)).removesuffix(".__init__")
        packages = {name.rsplit(".", depth)[0] for depth in range(name.count("."))}
        says_pure = re.search(r"\bPure\b(?! but)", ast.get_docstring(ast.parse(file.read_text())) or "")
        if says_pure and name not in covered and not packages & covered:
            unchecked.append(name)
    assert unchecked == []
