"""One stack for all tests here; building it takes longer than any test may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.stack import Stack, standing

STAND_UP_SECONDS = 600


@pytest.fixture(scope="session")
def only_on_docker(request: pytest.FixtureRequest) -> None:
    """Fail where tests run that need no Docker: one of them asked for a stack and lacks its mark."""
    assert request.config.option.markexpr != "not docker", "mark the test with @pytest.mark.docker"


@pytest.fixture(scope="session")
def stack(only_on_docker: None) -> Iterator[Stack]:
    """The stack, standing."""
    with standing() as running:
        yield running


@pytest.fixture(scope="session")
def nginx_stack(only_on_docker: None) -> Iterator[Stack]:
    """The stack of nginx mode, standing."""
    with standing("compose/nginx-mode.yaml", "-nginx") as running:
        yield running


@pytest.fixture
def two_foos(stack: Stack) -> set[str]:
    """foo.com as the compose file has it: two replicas, both answering, whatever the test before did."""
    names = stack.scale("foo", 2)
    stack.wait_answered_by("foo.com", names)
    return names


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands on the stack needs Docker, and may be the one that waits for it to be built."""
    for item in items:
        if {"stack", "nginx_stack"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(STAND_UP_SECONDS))
