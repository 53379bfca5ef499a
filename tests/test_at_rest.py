"""What the programs do not import before somebody needs it: a stack at rest pays for all of it, in each container."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import Router, wait_for
from support.survival import children

_COMMAND_LINES = {"click.testing", "rich", "pygments"}
_FILES = {"yaml", "watchdog", "jinja2"}
#: Of uvicorn's command line, and of what configures logs from files.
_OF_UVICORN = {"click", "multiprocessing", "uvicorn.supervisors", "logging.config"}
#: The router's own options, with all that reads INIs.
_OF_THE_ROUTER = {"fastroute.router.config.settings", "fastroute.router.config.options"}
#: What each program imports before it knows its settings, and what must not be among it.
UNUSED = {
    "fastroute.router.main": _COMMAND_LINES | _FILES | {"asyncio", "httpx", "difflib"},
    "fastroute.router.master.master": _COMMAND_LINES | _FILES | {"asyncio", "httpx", "difflib"},
    "fastroute.router.relay.main": _COMMAND_LINES | _FILES | {"asyncio", "httpx", "difflib", "html"},
    "fastroute.router.control.main": _COMMAND_LINES | _FILES | _OF_UVICORN | {"httpx", "prometheus_client"},
    "fastroute.controller.main, fastroute.controller.router_mode.mode": (
        _COMMAND_LINES | _FILES | _OF_UVICORN | _OF_THE_ROUTER | {"httpx", "charset_normalizer", "chardet", "tarfile"}
    ),
    "fastroute.page.program": (
        _COMMAND_LINES | _FILES | _OF_UVICORN | _OF_THE_ROUTER | {"docker", "requests", "prometheus_client"}
    ),
    "fastroute.certs.program": (
        _COMMAND_LINES | _FILES | _OF_UVICORN | _OF_THE_ROUTER | {"docker", "requests", "acme", "OpenSSL"}
    ),
}


@pytest.mark.parametrize("modules", UNUSED)
def test_nothing_is_imported_before_it_is_needed(modules: str) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert UNUSED[modules] & set(run.stdout.split()) == set()


def test_httpx_without_its_command_line_is_whole() -> None:
    code = (
        "from fastroute.router.runtime.http_client import httpx; import sys; assert 'httpx._main' not in sys.modules;"
        "transport = httpx.MockTransport(lambda request: httpx.Response(200, text='yes'));"
        "print(httpx.Client(transport=transport).get('http://x/').text)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "yes\n"


def test_what_is_left_out_is_there_for_who_imports_it_later() -> None:
    code = (
        "import fastroute.router.admin_http.lean_uvicorn, fastroute.controller.observe.docker_sdk;"
        "import uvicorn.main, logging.config, charset_normalizer, tarfile;"
        "print(uvicorn.main.run.__name__, logging.config.dictConfig.__name__, charset_normalizer.from_bytes.__name__,"
        "tarfile.TarFile.__name__)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "run dictConfig from_bytes TarFile\n"


def test_what_the_processes_of_a_router_import_is_in_memory_once() -> None:
    with Router() as router:
        for module in ("relay.main", "control.main"):
            pid = wait_for(lambda module=module: next(iter(children(router, module)), None), f"{module} runs")
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            own, all_of_it = (
                int(re.findall(rf"^{name}:\s+(\d+)", rollup, re.M)[0]) for name in ("Private_Dirty", "Anonymous")
            )
            assert own < 0.7 * all_of_it, module
