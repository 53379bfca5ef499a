"""Routers that resubscribe to each other: a key lives as long as its workers do, and no request goes in circles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from support.programs import Router, free_port, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Worker, answers, refused_address

pytestmark = pytest.mark.timeout(120)


class Telling:
    """Routers of which each tells those that ``tells`` names (by number) of its keys."""

    def __init__(self, folder: Path, tells: list[list[int]], stack: ExitStack) -> None:
        self.ports = [free_port() for _ in tells]
        self.routers = []
        for number, others in enumerate(tells):
            lines = [f"fastrouter-resubscribe = 127.0.0.1:{self.ports[other]}" for other in others]
            ini = folder / f"{number}.ini"
            ini.write_text("\n".join(["[uwsgi]", *lines, ""]))
            own = f"127.0.0.1:{self.ports[number]}"
            options = (str(ini), "--listen", own, "--subscription-server", own, "--key-grace", "0")
            self.routers.append(stack.enter_context(Router(*options)))

    def say(self, number: int, address: str, *, leave: bool = False) -> None:
        send_datagram(self.ports[number], subscription_packet("foo.com", address, leave=leave))

    def status(self, number: int) -> dict[str, object]:
        return httpx.get(f"http://127.0.0.1:{self.routers[number].admin_port}/v1/status").json()  # type: ignore[no-any-return]

    def nodes(self, number: int) -> set[str]:
        return {node["address"] for key in self.status(number)["keys"] for node in key["nodes"]}  # type: ignore[attr-defined]

    def front(self, number: int) -> str:
        return f"127.0.0.1:{self.ports[number]}"

    def requests(self) -> int:
        return sum(self.status(number)["router"]["requests"] for number in range(len(self.ports)))  # type: ignore[index]


@contextmanager
def telling(folder: Path, tells: list[list[int]]) -> Iterator[Telling]:
    with ExitStack() as stack:
        yield Telling(folder, tells, stack)


def test_one_worker_is_known_to_both_and_gone_from_both(tmp_path: Path) -> None:
    with Worker(answers(b"a")) as worker, telling(tmp_path, [[1], [0]]) as two:
        two.say(0, worker.address)
        wait_for(lambda: two.nodes(1) == {two.front(0)}, "the other router knows")
        wait_for(lambda: ask(two.ports[1], "foo.com").body == b"a", "and relays")
        two.say(1, worker.address)
        wait_for(lambda: two.nodes(1) == {two.front(0), worker.address}, "it announces itself there, too")
        wait_for(lambda: two.nodes(0) == {two.front(1), worker.address}, "which the first one hears")
        for number in (0, 1):
            two.say(number, worker.address, leave=True)
        wait_for(lambda: not two.nodes(0) and not two.nodes(1), "nobody keeps the key for the other's sake")


def test_three_in_a_ring_forget_a_worker_that_is_gone(tmp_path: Path) -> None:
    with Worker(answers(b"a")) as worker, telling(tmp_path, [[1], [2], [0]]) as ring:
        ring.say(0, worker.address)
        wait_for(lambda: ring.nodes(2) == {ring.front(1)}, "the last one knows")
        assert ask(ring.ports[2], "foo.com").body == b"a"
        assert ring.nodes(0) == {worker.address}
        ring.say(0, worker.address, leave=True)
        wait_for(lambda: not ring.nodes(1) and not ring.nodes(2), "it is gone everywhere")


def test_a_request_never_comes_back_to_a_router_that_it_has_passed(tmp_path: Path) -> None:
    with telling(tmp_path, [[1], [0]]) as two, Worker(answers(b"a")) as a, Worker(answers(b"b")) as b:
        for number, worker in enumerate((a, b)):
            two.say(number, worker.address)
            wait_for(lambda n=number, w=worker: w.address in two.nodes(n), "its worker")
        for number in (0, 1):
            wait_for(lambda n=number: two.front(1 - n) in two.nodes(n), "each knows the other")
        before = two.requests()
        found = Counter(ask(two.ports[0], "foo.com").body for _ in range(40))
        assert found == {b"a": 20, b"b": 20}
        wait_for(lambda: two.requests() == before + 60, "half of them passed both routers, none came back")


def test_without_a_worker_alive_a_request_ends_and_the_answer_says_why(tmp_path: Path) -> None:
    with telling(tmp_path, [[1], [0]]) as two:
        for number in (0, 1):
            two.say(number, refused_address())
            wait_for(lambda n=number: two.front(1 - n) in two.nodes(1 - n) or two.nodes(n), "its worker")
        for number in (0, 1):
            wait_for(lambda n=number: two.front(1 - n) in two.nodes(n), "each knows the other")
        before = two.requests()
        answers_got = [ask(two.ports[0], "foo.com") for _ in range(10)]
        assert {answer.status for answer in answers_got} <= {502, 503}
        assert two.requests() - before <= 20
