"""What docker compose makes of the stack's files, without standing them up: everything is built from the root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Compose files of one stack -> services that take another's image instead of building their own.
STACKS = {
    ("compose.yaml",): {"controller", "page"},
    ("compose/nginx-mode.yaml",): {"page"},
    ("compose.yaml", "compose/two-routers.yaml"): {"controller", "page"},
}

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")


def services(files: tuple[str, ...], **variables: str) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FASTROUTE_", "COMPOSE_"))}
    command = ["docker", "compose", *(word for file in files for word in ("-f", file)), "config", "--format", "json"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ | variables, capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@pytest.mark.parametrize("files", STACKS)
def test_every_image_is_built_from_the_root_on_the_base_that_was_asked_for(files: tuple[str, ...]) -> None:
    found = services(files, FASTROUTE_BASE_IMAGE="debian:trixie-slim@sha256:" + "0" * 64)
    built = {name: service["build"] for name, service in found.items() if service.get("build")}
    assert found.keys() - built.keys() == STACKS[files]
    images = {service.get("image") for name, service in found.items() if name in built}
    assert all(found[name]["image"] in images for name in STACKS[files])
    for build in built.values():
        assert (build["context"], build["dockerfile"]) == (str(ROOT), "Dockerfile")
        assert build["args"] == {"BASE_IMAGE": "debian:trixie-slim@sha256:" + "0" * 64}
