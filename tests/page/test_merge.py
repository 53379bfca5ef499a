"""Several routers make one picture: requests are added up, a node is as the worst of them sees it."""

from __future__ import annotations

import pytest
from support.fleet import admin_state, container, controller_status, key, node, router_status

from fastroute.page.answers import read_containers, read_status
from fastroute.page.merge import merge, merge_containers


def test_requests_are_added_up_and_times_are_those_of_the_slowest() -> None:
    one = router_status(key("foo.com", node("a:1", in_flight=2, rate=3.0), rate=3.0, p95_ms=10.0, waiting=1))
    two = router_status(key("foo.com", node("a:1", in_flight=1, rate=4.0), rate=4.0, p95_ms=80.0, waiting=2))
    merged = merge([admin_state("one", one), admin_state("two", two)])["foo.com"]
    assert (merged.rate, merged.p95_ms, merged.waiting, merged.in_flight) == (7.0, 80.0, 3, 3)
    assert (merged.nodes["a:1"].rate, merged.ready) == (7.0, 1)


def test_a_node_is_as_the_worst_router_sees_it() -> None:
    one = router_status(key("foo.com", node("a:1"), node("b:1", state="ejected")))
    two = router_status(key("foo.com", node("a:1"), node("b:1"), node("c:1")))
    merged = merge([admin_state("one", one), admin_state("two", two)])["foo.com"]
    assert (merged.ready, len(merged.nodes), merged.known) == (2, 3, {"one": 2, "two": 3})
    assert (merged.nodes["b:1"].state, merged.nodes["b:1"].where("ejected")) == ("ejected", ["one"])


def test_a_silent_router_does_not_count_while_another_answers() -> None:
    old = router_status(key("foo.com", node("a:1", in_flight=9), rate=50.0), key("gone.com", node("z:1")))
    new = router_status(key("foo.com", node("b:1"), rate=1.0))
    merged = merge([admin_state("one", old, problem="refused"), admin_state("two", new)])
    assert (list(merged), list(merged["foo.com"].nodes), merged["foo.com"].rate) == (["foo.com"], ["b:1"], 1.0)
    alone = merge([admin_state("one", old, problem="refused")])["foo.com"]
    assert (list(alone.nodes), alone.rate, alone.in_flight) == (["a:1"], 0.0, 0), "what was, without numbers of now"


def test_nginx_mode_shows_what_nginx_serves_and_router_mode_what_routers_do() -> None:
    served = key("foo.com", node("a:1"))
    assert merge([admin_state("controller", controller_status(served, mode="nginx"))])["foo.com"].nginx
    assert merge([admin_state("controller", controller_status(served))]) == {}


def test_a_container_that_two_controllers_know_is_told_by_the_one_that_answers() -> None:
    one = admin_state("one", controller_status(), (container("c1", state="ready"),), problem="refused")
    two = admin_state("two", controller_status(), (container("c1", state="stopped"), container("c2")))
    for states in ([one, two], [two, one]):
        merged = merge_containers(states)
        assert {id: (state.name, found.state) for id, (state, found) in merged.items()} == {
            "c1": ("two", "stopped"),
            "c2": ("two", "ready"),
        }


@pytest.mark.parametrize("answer", [None, [], {}, {"keys": []}, {"router": {}, "controller": None, "keys": [1]},
                                    {"router": None, "controller": None, "keys": [{"key": "a"}]}])  # fmt: skip
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="no status"):
        read_status(answer)
    with pytest.raises(ValueError, match="lists no containers"):
        read_containers(answer)
