"""``fastroute-ctl rollout`` on a real engine beside the real docker compose, at 200 requests a second: nothing fails.

The client never retries.  ``FASTROUTE_ROLLOUTS`` is how often each is rolled out (1); with more, as ``make rollouts
ROUNDS=10`` does it, there are 5 replicas, 10,000 pages with their assets, a version that is 3 times slower, and a kill
at each step as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.open_load import OpenLoad, PageLoad, PageLoads
from support.programs import wait_for
from support.stack import ROOT, Stack

ROUNDS = int(os.environ.get("FASTROUTE_ROLLOUTS", "1"))
CTL = str(Path(sys.executable).with_name("fastroute-ctl"))
FILE = ROOT / "tests/docker/rollouts.yaml"
HOST = "rollout.test"
#: Requests, or page loads, a second.
RATE = 200
#: Of nginx in its container.
NGINX_PORT = 8080
#: Seconds: a busy machine starts ten containers in its own time.
READY_TIMEOUT = "120"
#: What rollout says when a step begins.
STEPS = {"hold": "no requests before", "start": "starting", "switch": "switching", "remove": "removing"}
#: Page loads through rollouts there and back, for each way of having no mixture.
PAGES = 10_000
long = pytest.mark.skipif(ROUNDS < 2, reason="make rollouts")


class Service:
    """The service in a compose project of its own beside the stack."""

    def __init__(self, stack: Stack, state: Path) -> None:
        self.stack, self.version = stack, 1
        (network,) = stack.inspect(f"{stack.project}-nginx-1")["NetworkSettings"]["Networks"].values()
        #: Where clients on other machines arrive.  At the published port of this machine Docker's own proxy would be in
        #: between, which costs as much as nginx, and ends for good when it has no descriptors left.
        self.nginx = str(network["IPAddress"])
        self.environment = stack.environment | {
            "COMPOSE_PROJECT_NAME": f"{stack.project}-rollouts", "STACK_PROJECT": stack.project,
            "XDG_STATE_HOME": str(state),
        }  # fmt: skip

    def compose(self, *words: str, **variables: str) -> str:
        command = ["docker", "compose", "-f", str(FILE), *words]
        done = subprocess.run(command, env=self.environment | variables, capture_output=True, text=True, check=False,
                              timeout=200)  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def stand(self, replicas: int, **variables: str) -> None:
        """``replicas`` containers of version 1 answer."""
        self.compose("down", "--timeout", "0")
        self.version, self.environment["REPLICAS"] = 1, str(replicas)
        self.environment.pop("VERSION", None)
        self.environment |= {"STICKY": "off", "DELAY": "0.01", **variables}
        self.compose("up", "-d", VERSION="1")
        wait_for(lambda: self.stack.get(HOST).text == "1", "version 1", 60)

    def command(self, *words: str) -> list[str]:
        return [CTL, "rollout", "-f", str(FILE), "web", "--timeout", READY_TIMEOUT, *words]

    def rollout(self, *words: str, **variables: str) -> tuple[int, dict[str, Any], str]:
        """Roll out the next version; exit code, result, and what was said."""
        variables = {"VERSION": str(self.version + 1), **variables}
        done = subprocess.run(self.command("-o", "json", *words), env=self.environment | variables,
                              capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
        if done.returncode == 0:
            self.version += 1
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def names(self) -> list[str]:
        return sorted(self.compose("ps", "-a", "--format", "{{.Name}}").split())

    def nothing_to_do(self) -> bool:
        """Whether a following ``docker compose up -d`` leaves all as it is."""
        before = self.names()
        said = self.compose("up", "-d", VERSION=str(self.version))
        return self.names() == before and not {"Creating", "Recreate", "Stopping"} & set(said.split())

    @contextmanager
    def load(self, what: str) -> Iterator[OpenLoad]:
        """200 requests a second, GET and POST in turn; every one has to be answered."""
        with OpenLoad(NGINX_PORT, [HOST], RATE, [self.nginx]) as load:
            yield load
            rate = load.pace.rate
        print(f"\n{what}: {len(load.outcomes)} requests at {rate:.0f}/s, {len(load.failed)} failed, "
              f"longest {load.slowest(HOST):.2f} s, by version {dict(sorted(answered(load).items()))}")  # fmt: skip


def answered(load: OpenLoad) -> Counter[str]:
    """How many requests each version answered."""
    return Counter(outcome.text for outcome in load.outcomes if outcome.status == 200)


def failures(load: OpenLoad) -> Counter[str]:
    """What went wrong, and how often."""
    return Counter(f"{outcome.method}: {outcome.status} {outcome.error}" for outcome in load.failed)


@pytest.fixture(scope="module")
def service(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(stack, tmp_path_factory.mktemp("state"))
    try:
        yield running
    finally:
        running.compose("down", "--timeout", "2")


@pytest.mark.timeout(900 + 120 * ROUNDS)
@pytest.mark.parametrize("replicas", [1, 2, pytest.param(5, marks=long)])
def test_a_rollout_loses_nothing_and_leaves_nothing_to_do_for_compose(service: Service, replicas: int) -> None:
    service.stand(replicas)
    seconds = []
    with service.load(f"{replicas} replicas, rolled out {ROUNDS} times") as load:
        for number in range(ROUNDS):
            words = ("--one-by-one",) if number % 5 == 4 else ()
            code, result, said = service.rollout(*words)
            assert code == 0, said
            seconds.append(result["seconds"])
            assert len(result["after"]) == replicas
    print(f"seconds: {', '.join(f'{each:.1f}' for each in seconds)}")
    print(said)
    assert not load.failed, failures(load)
    assert set(answered(load)) == {str(number) for number in range(1, service.version + 1)}
    assert service.nothing_to_do()


@long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sticky", ["cookie", "off"])
def test_a_page_has_its_assets_from_its_own_version(service: Service, sticky: str) -> None:
    """Rolled out there and back until so many pages were loaded.

    Clients that stay have no mixture at all.  With nothing but the switch it is left to those who had a page of the old
    version in the instant of the switch, and not yet its asset.
    """
    service.stand(2, STICKY=sticky)
    rollouts = 0
    with PageLoads(service.nginx, NGINX_PORT, HOST, RATE) as visitors:
        while len(visitors.loads) < PAGES:
            number = 3 - int(service.environment.get("VERSION", "1"))
            code, _, said = service.rollout(VERSION=str(number))
            assert code == 0, said
            service.environment["VERSION"] = str(number)
            rollouts += 1
        rate = visitors.pace.rate
    loads = visitors.loads
    mixed = [load for load in loads if load.mismatch]
    late = [load for load in mixed if not _straddles(load, loads)]
    slowest = max(load.ended - load.began for load in loads)
    print(f"\nsticky {sticky}: {len(loads)} page loads at {rate:.0f}/s, {rollouts} rollouts there and back; "
          f"{len(mixed)} mixed, {len(late)} of them not at a switch; {len(visitors.failures)} failed, "
          f"longest {slowest:.2f} s")  # fmt: skip
    assert not visitors.failures, Counter(visitors.failures)
    assert {load.page for load in loads} == {"1", "2"}
    assert not late, late[:3]
    assert sticky == "off" or not mixed, mixed[:3]
    assert rate > 0.95 * RATE, "this machine is too busy to load so many pages"


def _straddles(load: PageLoad, loads: list[PageLoad]) -> bool:
    """Whether a switch was in the middle of ``load``: when it began, nobody had a page of the other version yet, in the
    second before."""
    return not any(each.page != load.page and 0 < load.began - each.got_page < 1 for each in loads)


def test_a_version_that_never_gets_ready_is_never_asked(service: Service) -> None:
    service.stand(2)
    before = service.names()
    with service.load("a version that does not start") as load:
        code, result, said = service.rollout("--timeout", "5", FAILS="yes")
    assert (code, result["result"]) == (6, "timed-out"), said
    assert not load.failed, failures(load)
    assert (set(answered(load)), service.names()) == ({"1"}, before)


def test_a_canary_of_which_30_percent_fail_is_taken_back(service: Service) -> None:
    service.stand(2)
    before = service.names()
    with service.load("a canary with 30% errors") as load:
        code, result, said = service.rollout("--canary", "10", "--bake", "30s", ERRORS="30")
    print(said)
    assert (code, result["result"], service.names()) == (1, "back", before), said
    assert "errors of the new" in result["reason"]
    assert {outcome.status for outcome in load.failed} == {500}
    assert len(load.failed) < 0.05 * len(load.outcomes), "one in ten of the requests met it, and of these 30%"


@long
def test_one_that_is_three_times_slower_is_told_and_not_judged(service: Service) -> None:
    # So slow that it shows on a busy machine, too, and not so slow that two have too few threads for 200 a second.
    service.stand(2, DELAY="0.15")
    with service.load("three times slower") as load:
        code, result, said = service.rollout("--canary", "20", "--bake", "15s", DELAY="0.45")
    assert code == 0, said
    print(result["compared"][0]["text"])
    assert result["compared"][0]["new_p95"] > result["compared"][0]["old_p95"]
    assert not load.failed, failures(load)


@pytest.mark.parametrize("step", ["start", *(pytest.param(step, marks=long) for step in STEPS if step != "start")])
def test_killed_at_a_step_and_run_again_it_is_rolled_out(service: Service, step: str) -> None:
    service.stand(2)
    with service.load(f"killed at {step!r}, run again") as load:
        with subprocess.Popen(service.command(), env=service.environment | {"VERSION": "2"}, stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, text=True) as running:  # fmt: skip
            assert running.stderr is not None
            assert any(STEPS[step] in line for line in running.stderr)
            running.send_signal(signal.SIGKILL)
        code, result, said = service.rollout()
    assert code == 0, said
    assert not load.failed, failures(load)
    assert len(result["after"]) == 2
    assert service.nothing_to_do()


@long
def test_two_at_once_the_second_is_refused(service: Service) -> None:
    service.stand(1)
    with subprocess.Popen(service.command(), env=service.environment | {"VERSION": "2"}, stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True) as running:  # fmt: skip
        assert running.stderr is not None
        assert any(STEPS["start"] in line for line in running.stderr)
        code, _, said = service.rollout()
        assert (code, "is under way" in said) == (1, True), said
        running.stderr.read()
        assert running.wait(200) == 0
