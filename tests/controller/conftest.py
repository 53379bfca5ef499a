"""What tests of the controller share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_docker import FakeDocker, fake_engine


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    """An engine that exists only here."""
    with fake_engine(tmp_path) as engine:
        yield engine
