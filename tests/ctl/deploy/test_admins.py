"""The admins behind ``docker exec``: what becomes of a rollout when docker does not do as it should."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastroute.ctl.deploy import admins
from fastroute.ctl.deploy.admins import ExecAdmin
from fastroute.ctl.errors import Unreachable


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is run as ``docker``."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "docker"
    program.touch(0o755)
    return program


def test_a_bridge_that_does_not_end_costs_nothing(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admins, "BRIDGE_END_TIMEOUT", 0.1)
    docker.write_text('#!/bin/sh\nread line\necho \'{"answer": {"ready": 2}}\'\nexec sleep 60\n')
    admin = ExecAdmin("1234", "controller")
    assert admin.get("/v1/status") == {"ready": 2}
    admin.close()
    admin.close()


def test_a_bridge_that_has_ended_is_said_with_its_words(docker: Path) -> None:
    docker.write_text("#!/bin/sh\necho 'no such container' >&2\nexit 1\n")
    admin = ExecAdmin("1234", "controller")
    with pytest.raises(Unreachable, match="the controller in container 1234: no such container"):
        admin.get("/v1/status")
    admin.close()


def test_what_docker_says_instead_of_an_answer_is_said(docker: Path) -> None:
    """A container that has just ended, of another stack, is one of those that are asked."""
    docker.write_text("#!/bin/sh\nread line\necho 'OCI runtime exec failed: container is not running'\nexit 126\n")
    admin = ExecAdmin("1234", "controller")
    with pytest.raises(Unreachable, match="the controller in container 1234: OCI runtime exec failed"):
        admin.get("/v1/status")
    admin.close()
