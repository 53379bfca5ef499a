"""Nodes that are ejected for their answers, in a relay: when, for how long, and when they are back.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fuzz.world import Script, World
from support.waiting_world import ANSWER, answer, arrived, ask, play

from fastroute.router.relay import loop

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
#: Seconds between requests, and between looks at what was answered.
STEP, LOOK = 0.05, 0.25


def known(eject: str = "errors", algorithm: str = "wrr") -> list[Any]:
    return ["pool", "foo.com", {"algorithm": algorithm, "wait": 0.0, "eject": eject}]


def node(world: World, number: int, **named: Any) -> list[Any]:
    return ["node", "foo.com", world.addresses[number], named]


class Site:
    """Nodes that answer as ``bad`` says: those whose numbers are in it, with 500."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bad: set[int] = set()
        #: Each of so many answers of those is good; 0: none is.
        self.good_of = 0
        self.said: list[list[Any]] = []

    def serve(self, requests: int, pause: float = STEP) -> Iterator[float]:
        """So many requests, one after the other; ``served`` is by whom."""
        self.served: Counter[int] = Counter()
        for _ in range(requests):
            client = ask(self.world)
            yield 0
            arrived(self.world)
            packets = [worker for worker in self.world.served if worker.sock is not None and worker.packet()]
            mine = [one for one in packets if one.packet()[1][b"ID"] == str(client.number).encode()]  # type: ignore[index]
            if mine:
                number = self.world.addresses.index(mine[0].address)
                self.served[number] += 1
                good = number not in self.bad or (self.good_of and self.served[number] % self.good_of == 0)
                answer(self.world, client, ANSWER if good else ERROR)
            yield 0
            client.read()
            # Those that are over need not be looked at again each time.
            self.world.served[:] = [worker for worker in self.world.served if worker.sock is not None]
            yield pause

    def listen(self) -> list[list[Any]]:
        """What the relay has said of nodes."""
        while True:
            try:
                message = json.loads(self.world.control.recv(1 << 17))
            except BlockingIOError:
                return self.said
            if message[0] in ("ejected", "recovered", "failed"):
                self.said.append(message)


def run(script: Callable[[Site], Script], *numbers: int, eject: str = "errors", algorithm: str = "wrr") -> None:
    def whole(world: World) -> Script:
        world.tell(*(node(world, number) for number in numbers))
        yield 0
        yield from script(Site(world))

    play(whole, known(eject, algorithm))


@pytest.mark.parametrize("algorithm", ["wrr", "lrc", "random2"])
def test_one_whose_answers_are_errors_gets_none_but_trials(algorithm: str) -> None:
    def script(site: Site) -> Script:
        yield from site.serve(30)
        assert set(site.served) == {0, 1, 2}
        site.bad = {2}
        yield from site.serve(120)
        yield from site.serve(200)
        assert site.served[2] <= 5
        kinds = [message[0] for message in site.listen()]
        assert kinds
        assert set(kinds) == {"ejected"}
        _, key, address, reason, seconds = site.said[0]
        assert (key, address) == ("foo.com", site.world.addresses[2])
        assert "of its" in reason
        assert "answers in " in reason
        assert 0.18 < seconds < 0.32
        # Longer each time.
        times = [message[4] for message in site.said]
        assert times[-1] > 2 * times[0]

    run(script, 0, 1, 2, algorithm=algorithm)


def test_one_that_breaks_after_a_long_good_time_is_out_within_two_seconds() -> None:
    def script(site: Site) -> Script:
        yield from site.serve(200, 0.04)
        site.bad = {2}
        yield from site.serve(200, 0.01)
        yield from site.serve(300, 0.01)
        assert site.served[2] / 300 < 0.02

    run(script, 0, 1, 2)


def test_one_that_answers_some_well_is_judged_by_the_share() -> None:
    """Two of three of its answers are errors; never ten in a row."""

    def script(site: Site) -> Script:
        site.bad, site.good_of = {2}, 3
        yield from site.serve(120)
        assert [message[0] for message in site.listen()][:1] == ["ejected"]
        assert site.served[2] < 30

    run(script, 0, 1, 2)


@pytest.mark.parametrize("before", [160, 164, 168, 172])
def test_one_that_breaks_altogether_is_out_with_the_tenth_error(before: int) -> None:
    """Wherever it breaks between two reports: a whole look more would be five errors more."""

    def script(site: Site) -> Script:
        yield from site.serve(before, 0.0125)
        site.bad, errors = {2}, 0
        while not site.listen():
            yield from site.serve(1, 0.0125)
            errors += site.served[2]
        # A tick is 50 ms, four requests.
        assert 10 <= errors <= 12

    run(script, 0, 1, 2)


def test_two_that_break_at_once_are_no_exceptions() -> None:
    """Each of them alone looks bad beside what the other was until then."""

    def script(site: Site) -> Script:
        yield from site.serve(100, 0.04)
        site.bad = {0, 1, 2}
        yield from site.serve(150, 0.02)
        assert site.listen() == []
        assert site.served == {0: 50, 1: 50, 2: 50}

    run(script, 0, 1, 2)


def test_it_is_back_when_a_trial_was_answered_well() -> None:
    def script(site: Site) -> Script:
        site.bad = {1}
        yield from site.serve(100)
        assert site.listen()
        site.bad = set()
        yield from site.serve(200)
        assert site.listen()[-1] == ["recovered", "foo.com", site.world.addresses[1], "answers well again"]
        yield from site.serve(40)
        assert site.served == {0: 20, 1: 20}

    run(script, 0, 1)


def test_one_that_is_bad_again_soon_is_out_for_longer() -> None:
    def script(site: Site) -> Script:
        outs = []
        for _ in range(3):
            site.bad = {1}
            while site.listen()[-1:] == [] or site.said[-1][0] != "ejected":
                yield from site.serve(4)
            outs.append(site.said[-1][4])
            site.bad = set()
            while site.listen()[-1][0] != "recovered":
                yield from site.serve(4)
        assert outs[0] < outs[1] < outs[2]
        yield from site.serve(20, 3.0)
        site.bad = {1}
        while site.listen()[-1][0] != "ejected":
            yield from site.serve(4)
        assert site.said[-1][4] < 0.32

    run(script, 0, 1)


@pytest.mark.parametrize("eject", ["off", ""])
def test_where_nobody_asked_for_it_nobody_is_ejected(eject: str) -> None:
    def script(site: Site) -> Script:
        site.bad = {2}
        yield from site.serve(150)
        assert site.served == {0: 50, 1: 50, 2: 50}
        assert site.listen() == []

    run(script, 0, 1, 2, eject=eject)


def test_all_alike_the_only_one_and_a_second_one_stay() -> None:
    def script(site: Site) -> Script:
        site.bad = {0, 1, 2}
        yield from site.serve(120)
        assert site.served == {0: 40, 1: 40, 2: 40}
        site.bad = {1, 2}
        yield from site.serve(300)
        # Two of three are no exceptions any more.
        assert site.listen() == []
        site.world.tell(["gone", "foo.com", site.world.addresses[0]], ["gone", "foo.com", site.world.addresses[1]])
        yield 0
        yield from site.serve(60)
        assert site.served == {2: 60}
        assert site.listen() == []

    run(script, 0, 1, 2)


def test_the_last_that_accepts_connections_serves_whatever_it_answers() -> None:
    def script(site: Site) -> Script:
        site.bad = {2}
        yield from site.serve(100)
        assert [message[0] for message in site.listen()]
        site.world.deaf(site.world.addresses[0])
        yield from site.serve(10)
        assert site.served[2] >= 9
        assert ["recovered", "failed"] not in site.listen()

    run(script, 0, 2)


def test_a_worker_that_announces_itself_again_is_not_tried_sooner_for_that() -> None:
    def script(site: Site) -> Script:
        site.bad = {1}
        while len(site.listen()) < 4:
            yield from site.serve(10)
        for _ in range(10):
            site.world.tell(["retry", "foo.com", site.world.addresses[1]])
            yield 0
            yield from site.serve(1, 0.01)
            assert not site.served[1]

    run(script, 0, 1)


def test_an_ejected_node_that_leaves_and_joins_anew_is_a_new_one() -> None:
    def script(site: Site) -> Script:
        site.bad = {1}
        while not site.listen():
            yield from site.serve(10)
        site.world.tell(["gone", "foo.com", site.world.addresses[1]])
        yield 0
        site.world.tell(node(site.world, 1))
        yield 0
        site.bad = set()
        yield from site.serve(10)
        assert site.served == {0: 5, 1: 5}

    run(script, 0, 1)
