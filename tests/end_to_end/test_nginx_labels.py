"""Whatever labels and operators ask for, as the reconciler hands it to nginx mode: a real nginx takes all of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import pytest
from support.nginx_mode import PROGRAMS, ServedNginx
from support.nginx_states import custom
from support.simulated_engine import Simulation

from fastroute.controller.nginx_mode.nginx_config import ConfigState, render

ALGORITHMS = ("", "wrr", "lrc", "wlrc", "iphash", "random2")
#: What one container's labels may say, apart from the key's algorithm.
KINDS = tuple(product(("0", "1", "65535"), ("0", "1", "255"), ("uwsgi", "http")))
PAIRS = tuple(combinations_with_replacement(range(len(KINDS)), 2))


@pytest.fixture(scope="module")
def frame() -> Iterator[ServedNginx]:
    """One whose files are only tested."""
    with ServedNginx() as running:
        yield running


def labels(kind: int, side: int) -> dict[str, str]:
    """One container of ``kind``, with a key for each algorithm and each kind that the other container may be of."""
    weight, backup, protocol = KINDS[kind]
    found = {"fastroute.port": "80", "fastroute.probe": "none", "fastroute.weight": weight, "fastroute.backup": backup}
    found["fastroute.protocol"] = protocol
    if side:
        found |= {"fastroute.max": str(kind), "fastroute.wait": "15s"}
    pairs = [pair for pair in PAIRS if pair[side] == kind]
    for algorithm in ALGORITHMS:
        name = algorithm or "none"
        found[f"fastroute.{name}.key"] = ",".join(f"{name}-{one}-{other}.test" for one, other in pairs)
        if algorithm:
            found[f"fastroute.{name}.algorithm"] = algorithm
    return found


@pytest.fixture(scope="module")
def sim() -> Simulation:
    """Two containers of each kind, so that each two kinds meet in a key of each algorithm."""
    sim = Simulation()
    for kind, side in product(range(len(KINDS)), (0, 1)):
        sim.docker.run(f"c{kind}-{side}", labels(kind, side))
    sim.connect()
    sim.pass_time(5)
    return sim


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_two_containers_of_every_labels_make_what_nginx_takes(
    frame: ServedNginx, sim: Simulation, program: str
) -> None:
    assert_taken(frame, sim, program)


def test_so_it_is_with_weights_of_operators(frame: ServedNginx, sim: Simulation) -> None:
    for kind in range(len(KINDS)):
        sim.steer(f"c{kind}-0", weight=(0, 7, 65535)[kind % 3])
    sim.steer("c4-1", drain=True)
    assert_taken(frame, sim, "debian")


def assert_taken(frame: ServedNginx, sim: Simulation, program: str) -> None:
    state = sim.reconciler.desired
    found = render(ConfigState(state), custom({}), frame.options)
    keys = {key for key, _, _ in found.served}
    assert len(keys) == len(ALGORITHMS) * len(PAIRS)
    frame.install(found)
    frame.program = PROGRAMS[program]
    assert frame.starts() == ""
    alive = {key for (key, _, _), route in state.items() if not route.entry.drain}
    assert {key for key in keys if f'upstream "fastroute.{key}"' in found.files[f"keys/{key}.conf"]} == alive
