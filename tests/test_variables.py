"""The variables of all programs may stand in one environment: none of them is taken for a misspelt one of another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastroute.certs.options import PROGRAM as CERTS
from fastroute.controller.options import PROGRAM as CONTROLLER
from fastroute.page.options import PROGRAM as PAGE
from fastroute.router.config.configuration import Program, read_environment
from fastroute.router.config.options import PROGRAM as ROUTER
from fastroute.router.sidecar.options import PROGRAM as ANNOUNCE

TOP = Path(__file__).resolve().parent.parent
PROGRAMS = [ROUTER, CONTROLLER, CERTS, PAGE, ANNOUNCE]


def variables() -> set[str]:
    """Every FASTROUTE_* variable of a program, of the compose stack, the scripts and the examples."""
    names = {option.variable for program in PROGRAMS for option in program.public().values()}
    folders = [TOP / name for name in ("certs", "compose", "ctl", "examples", "page", "router", "scripts")]
    for path in [TOP / "compose.yaml", TOP / "Makefile", *(path for top in folders for path in top.rglob("*"))]:
        if path.is_file() and path.suffix != ".pyc":
            names |= set(re.findall(r"\bFASTROUTE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(errors="replace")))
    # Of the container of nginx, in which none of our programs runs.
    return names - {"FASTROUTE_NGINX_CONF", "FASTROUTE_TRUSTED_PROXIES"}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_program_leaves_the_others_variables_alone(program: Program) -> None:
    ours = {option.variable for option in program.public().values()}
    others = variables() - ours
    # The admins' URLs are variables of fastroute-ctl and of fastroute-certs.
    assert {"FASTROUTE_ROUTER_URL", "FASTROUTE_HTTP_PORT", "FASTROUTE_UWSGI"} <= others | ours
    assert read_environment(program, dict.fromkeys(others, "?")) == {}
