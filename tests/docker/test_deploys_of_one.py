"""A service of one container is deployed by plain docker commands at 100 requests a second, and no request fails.

The client never retries.  Three kinds of workers are deployed at once: uWSGI, gunicorn in the uwsgi protocol, gunicorn
in HTTP.  They go on for half a second after their stop signal, as docs/deploying.md says; without that, a busy machine
may lose a POST that a closing worker had not accepted yet, and how many is printed.  ``FASTROUTE_DEPLOYS`` is how often
(2); ``make deploys ROUNDS=10`` runs only these tests.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from support.deployed import FILE, HOSTS, Deployed
from support.open_load import OpenLoad
from support.programs import wait_for
from support.stack import ROOT, Stack

ROUNDS = int(os.environ.get("FASTROUTE_DEPLOYS", "2"))
#: Requests a second, to all three together: of one key 1,000 may wait (--wait-max), and each does so for 15 s at most.
RATE = float(os.environ.get("FASTROUTE_DEPLOY_RATE", "100"))


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Iterator[Deployed]:
    running = Deployed(stack)
    running.compose("up", "-d")
    try:
        running.wait_answered()
        yield running
    finally:
        running.compose("down", "--timeout", "2")


def report(load: OpenLoad, what: str) -> str:
    """Prints how it went, and the longest wait of each kind; the failures, for the message of an assertion."""
    slowest = ", ".join(f"{host} {load.slowest(host):.2f} s" for host in HOSTS)
    print(f"\n{what}: {len(load.outcomes)} requests, {len(load.failed)} failed, longest: {slowest}")
    kinds = Counter(f"{one.host} {one.method} {one.status} {one.error}" for one in load.failed)
    text = "\n".join([*(f"{count} x {kind}" for kind, count in kinds.items()), *map(str, load.failed[:20])])
    if text:
        print(text)
    return text


def test_the_delay_is_the_one_of_the_documentation() -> None:
    (line,) = re.findall(r"entrypoint: .*", FILE.read_text())
    assert line.replace("${STOP_DELAY:-0.5}", "0.5") in (ROOT / "docs/deploying.md").read_text()


@pytest.mark.parametrize("seconds", [0, 5])
def test_recreating_the_only_container_loses_nothing(deployed: Deployed, seconds: int) -> None:
    with OpenLoad(deployed.stack.port, HOSTS, RATE / len(HOSTS)) as load:
        for _ in range(ROUNDS):
            before = deployed.answered_by()
            deployed.compose("up", "-d", "--force-recreate", IMPORT_SECONDS=str(seconds))
            deployed.wait_answered()
            assert not set(before.values()) & set(deployed.answered_by().values())
    failures = report(load, f"recreated {ROUNDS} times, {seconds} s to import")
    assert not load.failed, failures


def test_restarting_the_only_container_loses_nothing(deployed: Deployed) -> None:
    with OpenLoad(deployed.stack.port, HOSTS, RATE / len(HOSTS)) as load:
        for _ in range(ROUNDS):
            deployed.stack.docker("restart", *deployed.containers())
            deployed.wait_answered()
    failures = report(load, f"restarted {ROUNDS} times")
    assert not load.failed, failures


#: As the demo's services are, which finish what they have begun; and workers that cut off even that.
PLAIN = {"STOP_DELAY": "0", "MAX": "0"}
WITH_MAX = {"STOP_DELAY": "0"}
CUTTING_OFF = {"STOP_DELAY": "0", "AT_TERM": "--die-on-term"}
KINDS = {"as the demo's services are": PLAIN}
if ROUNDS > 2:
    KINDS |= {"the same with max": WITH_MAX, "uWSGI with die-on-term": CUTTING_OFF}


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_close_at_once_lose_at_most_what_they_had_not_accepted(deployed: Deployed, kind: str) -> None:
    settings = KINDS[kind]
    deployed.compose("up", "-d", **settings)
    deployed.wait_answered()
    with OpenLoad(deployed.stack.port, HOSTS, RATE / len(HOSTS)) as load:
        for _ in range(ROUNDS):
            deployed.compose("up", "-d", "--force-recreate", **settings)
            deployed.wait_answered()
    failures = report(load, f"recreated {ROUNDS} times, closing at once, {kind}")
    deployed.compose("up", "-d")
    deployed.wait_answered()
    # Who was not sent anywhere waits, however busy the machine is; each worker has 4 requests at most.
    assert not any(one.status == 503 for one in load.failed), failures
    assert len(load.failed) <= 4 * len(HOSTS) * ROUNDS, failures


def test_a_version_that_does_not_start_is_503_once_the_wait_is_over_and_not_before(deployed: Deployed) -> None:
    deployed.compose("up", "-d", WAIT="15s")
    deployed.wait_answered()
    with OpenLoad(deployed.stack.port, HOSTS, RATE / len(HOSTS)) as load:
        deployed.compose("up", "-d", "--force-recreate", FAILS="yes", WAIT="15s")
        wait_for(lambda: len(load.failed) > 100, "requests whose time is over", 60)
        broken = load.pace.now
        deployed.compose("up", "-d", "--force-recreate")
        deployed.wait_answered()
    failures = report(load, "a version that does not start")
    assert {(one.status, one.error) for one in load.failed} == {(503, "no-node")}, failures
    assert all(14.9 <= one.seconds <= 20 for one in load.failed), failures
    assert any(one.sent > broken and one.status == 200 for one in load.outcomes)
