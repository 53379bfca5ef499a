"""Deploys and accidents, measured: every subject before the same containers, at the same moments, by a client each."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.peers.accidents import ACCIDENTS, BEFORE, FOURTH, Accident, ready
from benchmarks.peers.docker_link import DockerLink
from benchmarks.peers.docker_subjects import docker_subjects
from benchmarks.peers.fixed_subjects import fixed_subjects
from benchmarks.peers.outcomes import DeploysResult, docker_seconds, figures_of
from benchmarks.peers.site import NAMES, SERVICES, THREE, Site, standing_site
from benchmarks.peers.strict_client import StrictClient

#: Starts of a container in each round, and seconds that the slowest subject has to find it.
STARTS, FIND = 2, 25.0


def measure_deploys(programs: Path, rounds: int, rate: float, chosen: Sequence[str]) -> Iterator[DeploysResult]:
    """What is known after each round; ``chosen``: beginnings of scenarios' names; empty: all."""
    result, begun = DeploysResult(), time.monotonic()
    accidents = [each for each in ACCIDENTS if not chosen or each.name.startswith(tuple(chosen))]
    before = os.getloadavg()[0]
    with _standing(programs) as (site, link):
        result.settings = {subject.name: subject.settings for subject in site.subjects}
        result.fixed = [subject.name for subject in site.subjects if subject.fixed]
        for number in range(rounds):
            if not chosen or "start".startswith(tuple(chosen)):
                for start in range(STARTS):
                    _start(result, site, rate, f"new{number}x{start}")
                    _say(begun, number, "start → first good answer")
            for accident in accidents if number % 2 == 0 else reversed(accidents):
                try:
                    _round(result, site, link, accident, rate)
                except RuntimeError as error:
                    # It has one round less then; what is wrong is said, and the next one waits for all subjects again.
                    print(f"  {accident.name}: {error}", file=sys.stderr)
                    site.remove(FOURTH)
                _say(begun, number, accident.name)
            done = [each.name for each in accidents if each.name in result.figures]
            result.figures = {name: result.figures[name] for name in done}
            result.rounds, result.load = number + 1, (before, os.getloadavg()[0])
            yield result


def _say(begun: float, number: int, what: str) -> None:
    print(f"  {time.monotonic() - begun:4.0f} s: round {number + 1}, {what}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _standing(programs: Path) -> Iterator[tuple[Site, DockerLink]]:
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        site = stack.enter_context(standing_site(folder))
        link = stack.enter_context(DockerLink(folder / "docker.sock", site.engine.url.removeprefix("unix://")))
        addresses = [site.address(name) for name in NAMES]
        site.subjects = [
            *stack.enter_context(docker_subjects(folder, programs, link.url)),
            *stack.enter_context(fixed_subjects(folder, addresses)),
        ]
        for key in (THREE, *SERVICES):
            ready(site, key)
        yield site, link


def _round(result: DeploysResult, site: Site, link: DockerLink, accident: Accident, rate: float) -> None:
    ready(site, accident.key, accident.fixed, accident.prepare(site))
    with StrictClient(site.targets(accident.key, site.taking_part(accident.fixed)), rate) as client:
        time.sleep(BEFORE)
        accident.happen(site, link)
        time.sleep(accident.after)
    result.late = max(result.late, client.late)
    for name, outcomes in client.outcomes.items():
        rounds = result.figures.setdefault(accident.name, {}).setdefault(name, [])
        rounds.append(figures_of(outcomes))
    accident.restore(site)


def _start(result: DeploysResult, site: Site, rate: float, key: str) -> None:
    """A container of a key that nobody knows: from Docker's own time of its start to each subject's first good
    answer."""
    subjects = site.taking_part(fixed=False)
    with StrictClient(site.targets(key, subjects), rate) as client:
        time.sleep(BEFORE)
        site.run(key, key)
        started = docker_seconds(site.docker("inspect", "-f", "{{.State.StartedAt}}", key))
        started -= time.time() - time.monotonic()
        with contextlib.suppress(RuntimeError):
            site.settle(key, site.host_names(key), subjects, FIND)
    site.remove(key)
    for name, outcomes in client.outcomes.items():
        answered = [each.sent + each.seconds for each in outcomes if each.good]
        result.starts.setdefault(name, []).append(min(answered) - started if answered else float("inf"))
