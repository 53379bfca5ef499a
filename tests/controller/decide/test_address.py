"""Which address a container is reached at."""

from __future__ import annotations

from dataclasses import replace

from fastroute.controller.decide.address import FoundAddress, NoAddress, choose
from fastroute.controller.decide.container import Container, Endpoint, Network
from fastroute.controller.decide.networks import NetworkContext, network_context
from fastroute.controller.decide.scope import Scope

BRIDGES = {name: Network(name, True, f"172.{at}.0.1") for at, name in enumerate(("back", "edge", "web"), 18)}
SHARED = NetworkContext("", ("back", "web"), "the router's container router-1", BRIDGES, outside=False)
OUTSIDE = NetworkContext("", (), "", BRIDGES)


def make(name: str = "web-1", mode: str = "", status: str = "running", labels: dict[str, str] | None = None, **at: str):
    """A container with an address on each network of ``at``."""
    ends = tuple(Endpoint(network, "e", address, "") for network, address in sorted(at.items()))
    return Container(name * 8, name, labels or {}, 1, "t", 1, status, 0, "", 15, 10.0, mode, ends, (8000,))


def address(
    container: Container, label: str = "", networks: NetworkContext = SHARED, others: tuple[Container, ...] = ()
):
    """Address, or None and the reason."""
    found = choose(container, label, networks, {one.id: one for one in others}.get)
    return (found.address, found.why) if isinstance(found, FoundAddress) else (None, found.reason)


def test_of_several_shared_networks_the_first_by_name_counts() -> None:
    assert address(make(web="10.0.0.2", back="10.1.0.2", other="10.2.0.2"))[0] == "10.1.0.2"


def test_the_label_goes_before_the_option_and_the_option_before_the_shared_networks() -> None:
    container = make(web="10.0.0.2", back="10.1.0.2", other="10.2.0.2")
    option = NetworkContext("web", ("back",), "the router's container router-1", BRIDGES)
    assert address(container, networks=option)[0] == "10.0.0.2"
    assert address(container, "other", option)[0] == "10.2.0.2"


def test_composes_short_name_of_a_network_will_do() -> None:
    container = make(labels={"com.docker.compose.project": "shop"}, shop_back="10.1.0.2")
    assert address(container, "back")[0] == "10.1.0.2"


def test_no_shared_network_is_a_reason_with_all_names() -> None:
    found, reason = address(make(db="10.0.0.2"))
    assert found is None
    for word in ("network", "db", "back", "web", "router-1"):
        assert word in reason


def test_not_on_the_named_network_is_a_reason_with_its_name() -> None:
    for found, reason in (
        address(make(web="10.0.0.2"), "db"),
        address(make(web="10.0.0.2"), networks=NetworkContext("db", ("web",), "x", BRIDGES)),
        address(make(), "db"),
    ):
        assert found is None
        assert "network db" in reason


def test_an_address_that_is_still_being_handed_out_is_asked_for_again_soon() -> None:
    found = choose(make(web=""), "", SHARED, lambda ref: None)
    assert isinstance(found, NoAddress)
    assert found.retry_soon
    assert "network web" in found.reason


def test_outside_docker_every_local_bridge_will_do_and_only_those() -> None:
    assert address(make(web="10.0.0.2", edge="10.3.0.2"), networks=OUTSIDE)[0] == "10.3.0.2"
    overlay = NetworkContext("", (), "", {"far": Network("far", False, "")})
    assert address(make(far="10.0.0.2"), networks=overlay)[0] is None


def test_outside_docker_a_network_shared_with_a_router_in_docker_goes_first() -> None:
    networks = NetworkContext("", ("web",), "the router's container router-1", BRIDGES, outside=True)
    assert address(make(web="10.0.0.2", edge="10.3.0.2"), networks=networks)[0] == "10.0.0.2"
    assert address(make(edge="10.3.0.2"), networks=networks)[0] == "10.3.0.2"


def test_a_network_that_is_newer_than_our_list_is_not_taken_for_a_foreign_one() -> None:
    found = choose(make(brandnew="10.0.0.2"), "", OUTSIDE, lambda ref: None)
    assert isinstance(found, NoAddress)
    assert found.retry_soon


def test_a_borrowed_network_is_that_of_its_owner() -> None:
    owner = make("owner", web="10.0.0.9")
    borrower = make(mode=f"container:{owner.id}")
    assert address(borrower, others=(owner,)) == (
        "10.0.0.9",
        "a network shared with the router's container router-1, as container owner has it",
    )


def test_a_borrowed_network_is_gone_with_its_owner() -> None:
    owner = make("owner", status="exited")
    found, reason = address(make(mode=f"container:{owner.id}"), others=(owner,))
    assert found is None
    assert "network" in reason
    assert "owner" in reason


def test_containers_that_borrow_from_each_other_end_the_search() -> None:
    one, two = make("one", mode="container:" + "two" * 8), make("two", mode="container:" + "one" * 8)
    assert address(one, others=(one, two))[0] is None


def test_a_container_on_the_hosts_network_is_at_the_gateway_of_the_chosen_one() -> None:
    assert address(make(mode="host", host=""))[0] == "172.18.0.1"
    assert address(make(mode="host", host=""), "web")[0] == "172.20.0.1"
    found, reason = address(make(mode="host", host=""), "db")
    assert found is None
    assert "network db" in reason


def test_no_network_at_all_is_a_reason() -> None:
    assert "network" in address(make(mode="none", none=""))[1]


def test_routers_stand_where_their_container_is_and_stay_there_while_it_is_recreated() -> None:
    scope, router = Scope(), make("router-1", back="10.0.0.2", edge="10.0.1.2")
    there = network_context(scope, [router], make("controller", web="10.2.0.2"), BRIDGES, NetworkContext())
    assert there.shared == ("back", "edge")
    assert network_context(scope, [], make("controller", web="10.2.0.2"), BRIDGES, there).shared == ("back", "edge")
    assert network_context(scope, [], make("controller", web="10.2.0.2"), BRIDGES, NetworkContext()).shared == ("web",)


SHOP, TEST = ({"com.docker.compose.project": name} for name in ("shop", "test"))
ROUTERS = [make("shop-router", labels=SHOP, front="10.0.0.2", both="10.9.0.2"),
           make("test-router", labels=TEST, testfront="10.1.0.2", both="10.9.0.3")]  # fmt: skip
CONTROLLER = make("test-controller", labels=TEST, api="10.2.0.2")


def test_of_several_stacks_on_an_engine_a_controller_looks_at_the_router_of_its_own() -> None:
    assert network_context(Scope(), ROUTERS, CONTROLLER, BRIDGES, NetworkContext()).shared == ("both", "testfront")
    assert network_context(Scope(), ROUTERS[:1], CONTROLLER, BRIDGES, NetworkContext()).shared == ("both", "front")
    assert network_context(Scope(), ROUTERS, None, BRIDGES, NetworkContext()).shared == ("both", "front", "testfront")


def test_while_its_router_is_recreated_a_stack_does_not_move_to_the_other_one() -> None:
    networks = network_context(Scope(), ROUTERS, CONTROLLER, BRIDGES, NetworkContext())
    alone = network_context(Scope(), ROUTERS[:1], CONTROLLER, BRIDGES, networks)
    assert (alone.shared, alone.foreign) == (("both", "testfront"), networks.foreign)
    assert network_context(Scope(), ROUTERS, CONTROLLER, BRIDGES, alone) == networks


def test_what_is_on_the_other_stacks_network_is_not_ours() -> None:
    networks = network_context(Scope(), ROUTERS, CONTROLLER, BRIDGES, NetworkContext())
    theirs = make(front="10.0.0.9")
    reason = (
        "for another stack: on network front with router container shop-router of compose project shop, not with ours"
    )
    assert choose(theirs, "", networks, {}.get) == NoAddress(reason, foreign=True)  # type: ignore[arg-type]
    # Nor what says so by its label, or borrows the network of one that is there.
    on_both = make(front="10.0.0.9", testfront="10.1.0.9")
    assert choose(on_both, "front", networks, {}.get) == NoAddress(reason, foreign=True)  # type: ignore[arg-type]
    assert choose(make("x", mode=f"container:{theirs.id}"), "", networks, {theirs.id: theirs}.get) == NoAddress(
        reason, foreign=True
    )
    # But what is on one of ours is, and what is on no router's is an error as ever.
    assert address(on_both, networks=networks)[0] == "10.1.0.9"
    assert address(make(both="10.9.0.9", front="10.0.0.9"), networks=networks)[0] == "10.9.0.9"
    for container, label in ((make(db="10.0.5.2"), ""), (on_both, "nowhere"), (make(testfront="10.1.0.9"), "front")):
        found = choose(container, label, networks, {}.get)  # type: ignore[arg-type]
        assert isinstance(found, NoAddress)
        assert not found.foreign
    named = network_context(Scope(network="front"), ROUTERS, CONTROLLER, BRIDGES, NetworkContext())
    assert address(theirs, networks=named)[0] == "10.0.0.9"


def test_a_router_on_the_hosts_network_and_none_at_all_reach_every_bridge() -> None:
    scope, own = Scope(), make("controller", api="10.2.0.2")
    for routers, controller in (([make(mode="host", host="")], own), ([], None), ([], make(mode="host", host=""))):
        found = network_context(scope, routers, controller, BRIDGES, NetworkContext())
        assert (found.shared, found.outside) == ((), True)


ELSEWHERE = NetworkContext(published="docker2.example.com")


def published(mode: str = "", **ports: list[tuple[str, int]]) -> Container:
    by_port = {int(name.removeprefix("p")): tuple(places) for name, places in ports.items()}
    return replace(make(mode=mode, web="172.18.0.2"), published=by_port)  # type: ignore[no-any-return]


def reached(container: Container, networks: NetworkContext = ELSEWHERE, *others: Container) -> tuple[str, int] | str:
    found = choose(container, "", networks, {one.id: one for one in others}.get, 8000)
    return (found.address, found.port) if isinstance(found, FoundAddress) else found.reason


def test_an_engine_elsewhere_is_reached_by_its_published_ports() -> None:
    assert reached(published(p8000=[("0.0.0.0", 32768), ("::", 32768)])) == ("docker2.example.com", 32768)
    assert reached(published(p8000=[("127.0.0.1", 1), ("10.1.1.1", 2)])) == ("10.1.1.1", 2)
    local = NetworkContext(published="127.0.0.1")
    assert reached(published(p8000=[("127.0.0.1", 9000)]), local) == ("127.0.0.1", 9000)
    assert reached(published("host")) == ("docker2.example.com", 0)


def test_what_is_not_published_has_no_address_and_says_why() -> None:
    for container, said in (
        (published(p9000=[("0.0.0.0", 1)]), "port 8000 is not published"),
        (published(p8000=[("127.0.0.1", 1)]), "port 8000 is published on 127.0.0.1 only"),
    ):
        reason = reached(container)
        assert isinstance(reason, str)
        assert said in reason
        assert "network" in reason


def test_a_borrowed_network_has_its_holders_published_ports() -> None:
    holder = published(p8000=[("0.0.0.0", 4)])
    assert reached(make("app", f"container:{holder.id}"), ELSEWHERE, holder) == ("docker2.example.com", 4)


def test_on_an_ipv6_only_network_the_address_is_that() -> None:
    assert address(make(web="fd00::2"))[0] == "fd00::2"


def test_a_swarms_own_networks_are_never_taken() -> None:
    known = {
        "fastroute": Network("fastroute", False, ""),
        "ingress": Network("ingress", False, "", mesh=True),
        "docker_gwbridge": Network("docker_gwbridge", False, "", mesh=True),
    }
    router = make("router", ingress="10.0.0.9", fastroute="10.1.0.9")
    context = network_context(Scope(), [router], None, known, NetworkContext())
    assert context.shared == ("fastroute",)
    worker = make(ingress="10.0.0.2", fastroute="10.1.0.2")
    assert address(worker, networks=context)[0] == "10.1.0.2"
    found, reason = address(worker, "ingress", context)
    assert found is None
    assert "network ingress is the swarm's own" in reason
