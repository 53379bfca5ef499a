"""A service of one container is deployed by plain docker commands at 100 requests a second, and no request fails.

The client never retries.  Three kinds of workers are deployed at once: uWSGI, gunicorn in the uwsgi protocol, gunicorn
in HTTP.  ``FASTROUTE_DEPLOYS`` is how often (2); ``make deploys ROUNDS=10`` runs only these tests.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support.open_load import OpenLoad, Outcome
from support.programs import wait_for
from support.stack import ROOT, Stack

ROUNDS = int(os.environ.get("FASTROUTE_DEPLOYS", "2"))
RATE = float(os.environ.get("FASTROUTE_DEPLOY_RATE", "100"))
SERVICES = ("uwsgi", "gunicorn", "http")
HOSTS = tuple(f"{service}.test" for service in SERVICES)
FILE = ROOT / "tests/docker/deploys.yaml"


class Deployed:
    """The three services beside the stack, in a compose project of their own."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.project = stack, f"{stack.project}-deploys"
        self._environment = stack.environment | {
            "COMPOSE_PROJECT_NAME": self.project, "STACK_PROJECT": stack.project,
        }  # fmt: skip

    def compose(self, *argv: str, **variables: str) -> str:
        """``docker compose`` in the project, with these ``variables``."""
        command = ["docker", "compose", "-f", str(FILE), *argv]
        done = subprocess.run(
            command, env=self._environment | variables, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self) -> list[str]:
        """Their names."""
        return sorted(self.compose("ps", "--format", "{{.Name}}").split())

    def answered_by(self) -> dict[str, str]:
        """Who answers for each host; its status where it is not 200."""
        answers = {host: self.stack.get(host) for host in HOSTS}
        return {host: answer.text if answer.status == 200 else str(answer.status) for host, answer in answers.items()}

    def wait_answered(self) -> None:
        """Until each host is answered by its own running container."""
        names = {name.removesuffix(".test"): name for name in HOSTS}
        wanted = {names[service]: self.host_name(service) for service in SERVICES}
        wait_for(lambda: self.answered_by() == wanted, "the new containers answer", 60)

    def host_name(self, service: str) -> str:
        """What the service's container answers with."""
        return self.stack.host_name(self.compose("ps", "--format", "{{.Name}}", service).split()[0])


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Iterator[Deployed]:
    running = Deployed(stack)
    running.compose("up", "-d")
    try:
        running.wait_answered()
        yield running
    finally:
        running.compose("down", "--timeout", "1")


def no_failures(load: OpenLoad, what: str) -> None:
    """All was answered; prints the longest wait of each kind."""
    slowest = ", ".join(f"{host} {load.slowest(host):.2f} s" for host in HOSTS)
    print(f"\n{what}: {len(load.outcomes)} requests, {len(load.failed)} failed, longest: {slowest}")
    shown = "\n".join(map(str, load.failed[:20]))
    assert not load.failed, f"{len(load.failed)} of {len(load.outcomes)} requests failed:\n{shown}"


@pytest.mark.parametrize("seconds", [0, 5])
def test_recreating_the_only_container_loses_nothing(deployed: Deployed, seconds: int) -> None:
    with OpenLoad(deployed.stack.port, HOSTS, RATE) as load:
        for _ in range(ROUNDS):
            before = deployed.answered_by()
            deployed.compose("up", "-d", "--force-recreate", IMPORT_SECONDS=str(seconds))
            deployed.wait_answered()
            assert not set(before.values()) & set(deployed.answered_by().values())
    no_failures(load, f"recreated {ROUNDS} times, {seconds} s to import")


def test_restarting_the_only_container_loses_nothing(deployed: Deployed) -> None:
    with OpenLoad(deployed.stack.port, HOSTS, RATE) as load:
        for _ in range(ROUNDS):
            deployed.stack.docker("restart", *deployed.containers())
            deployed.wait_answered()
    no_failures(load, f"restarted {ROUNDS} times")


def test_a_version_that_does_not_start_is_503_once_the_wait_is_over_and_not_before(deployed: Deployed) -> None:
    with OpenLoad(deployed.stack.port, HOSTS, RATE) as load:
        deployed.compose("up", "-d", "--force-recreate", FAILS="yes")
        wait_for(lambda: len(load.failed) > 100, "requests whose time is over", 60)
        broken = load.now
        deployed.compose("up", "-d", "--force-recreate")
        deployed.wait_answered()
    assert {(outcome.status, outcome.error) for outcome in load.failed} == {(503, "no-node")}
    assert all(14.9 <= outcome.seconds <= 16.5 for outcome in load.failed), _range(load.failed)
    wait_for(lambda: [outcome for outcome in load.outcomes if outcome.sent > broken and outcome.status == 200], "200s")


def _range(outcomes: list[Outcome]) -> tuple[float, float]:
    return min(outcome.seconds for outcome in outcomes), max(outcome.seconds for outcome in outcomes)
