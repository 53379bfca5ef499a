"""The compose files as docker compose reads them; no engine is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
STACKS = [["compose.yaml"], ["compose.yaml", "compose/two-routers.yaml"], ["compose/nginx-mode.yaml"]]


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker compose here")
@pytest.mark.parametrize("files", STACKS, ids=lambda files: Path(files[-1]).stem)
def test_whatever_is_built_is_built_from_the_root_and_the_base_image_that_is_set(files: list[str]) -> None:
    command = ["docker", "compose", *(word for file in files for word in ("-f", file)), "config", "--format", "json"]
    environ = os.environ | {"FASTROUTE_BASE_IMAGE": "base@sha256:1"}
    found = subprocess.run(command, cwd=HERE, env=environ, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    services = json.loads(found.stdout)["services"]
    built = {name: service["build"] for name, service in services.items() if "build" in service}
    assert {name for name in services if name not in built} <= {"controller", "page"}
    for name, build in built.items():
        assert (name, build["context"], build["args"]) == (name, str(HERE), {"BASE_IMAGE": "base@sha256:1"})
        assert build["target"]
