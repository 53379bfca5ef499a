"""What of the labels an upstream of nginx can hold."""

from hypothesis import given
from hypothesis import strategies as st
from support.nginx_states import route

from fastroute.controller.nginx_mode.upstreams import HASH_WEIGHT, make_upstream


def problems(*routes: object) -> list[str]:
    return [str(problem) for problem in make_upstream("foo.com", routes).problems]  # type: ignore[arg-type]


def test_balancing_by_algorithm() -> None:
    for algorithm, line in (("", ""), ("wrr", ""), ("lrc", "least_conn;"), ("wlrc", "least_conn;"),
                            ("iphash", "hash $remote_addr consistent;"),
                            ("random2", "random two least_conn;")):  # fmt: skip
        found = make_upstream("foo.com", [route("foo.com", "10.0.0.1:80", algorithm=algorithm, weight=3)])
        assert found.balancing == line
        # Of one node with iphash, every weight is the same.
        assert found.servers[0].weight == (1 if algorithm in ("lrc", "iphash") else 3)


def test_nodes_of_another_manner_are_left_out_with_a_reason() -> None:
    routes = [route("foo.com", f"10.0.0.{n}:80", f"c{n}", protocol="http" if n == 3 else "uwsgi") for n in (1, 2, 3)]
    found = make_upstream("foo.com", routes)
    assert [server.container for server in found.servers] == ["c1", "c2"]
    assert problems(*routes) == [
        "foo.com: container c3: left out: it speaks http, the others of the key speak uwsgi, and nginx has one way for"
        " all of a key"
    ]
    assert make_upstream("foo.com", routes[1:]).protocol == "uwsgi"


def test_names_that_do_not_resolve_are_left_out() -> None:
    assert "is a name that does not resolve" in problems(route("foo.com", "worker:80"))[0]
    assert "no address" in problems(route("foo.com", "@abstract"))[0]
    assert not make_upstream("foo.com", [route("foo.com", "worker:80")]).alive


def test_backup_levels_become_one_and_the_lowest_is_none() -> None:
    routes = [route("foo.com", f"10.0.0.{level}:80", backup=level) for level in (1, 2, 3)]
    assert [server.backup for server in make_upstream("foo.com", routes).servers] == [False, True, True]
    assert "backup levels 2, 3 are one" in problems(*routes)[0]
    lonely = [route("foo.com", "10.0.0.9:80", drain=True), *routes[:1]]
    assert [(server.backup, server.down) for server in make_upstream("foo.com", lonely).servers] == [
        (False, False),
        (False, True),
    ]


def test_a_node_that_drains_is_down_and_nothing_else() -> None:
    """nginx refuses weight=0, and "backup" beside some algorithms."""
    for algorithm in ("", "iphash", "random2"):
        draining = route("foo.com", "10.0.0.2:80", algorithm=algorithm, weight=0, backup=1, drain=True)
        found = make_upstream("foo.com", [route("foo.com", "10.0.0.1:80", algorithm=algorithm), draining])
        assert [(one.weight, one.backup, one.down) for one in found.servers] == [(1, False, False), (1, False, True)]
        assert not found.problems


def test_nodes_that_drain_do_not_outvote_those_that_serve() -> None:
    routes = [route("foo.com", f"10.0.0.{n}:80", drain=n < 3, protocol="uwsgi" if n < 3 else "http") for n in (1, 2, 3)]
    found = make_upstream("foo.com", routes)
    assert (found.protocol, found.alive) == ("http", True)


@given(st.lists(st.integers(1, 65_535), min_size=1, max_size=300))
def test_what_a_hash_costs_nginx_is_bounded_by_the_number_of_nodes(weights: list[int]) -> None:
    routes = [route("foo.com", f"10.0.{n}.1:80", algorithm="iphash", weight=w) for n, w in enumerate(weights)]
    found = make_upstream("foo.com", routes)
    given = {route.entry.address: route.entry.options.weight for route in routes}
    ranked = sorted(found.servers, key=lambda server: (given[server.address], server.weight))
    assert sum(server.weight for server in found.servers) <= HASH_WEIGHT * len(weights)
    assert [server.weight for server in ranked] == sorted(server.weight for server in ranked), "the order stays"
    assert min(server.weight for server in found.servers) >= 1


def test_weights_of_a_hash_keep_their_ratio_where_they_can() -> None:
    def weights(*given: int) -> list[int]:
        routes = [route("foo.com", f"10.0.0.{n}:80", algorithm="iphash", weight=w) for n, w in enumerate(given)]
        return [server.weight for server in make_upstream("foo.com", routes).servers]

    assert weights(65_535, 65_535) == [1, 1]
    assert weights(100, 300) == [1, 3]
    assert weights(1, 65_535) == [1, 30]
    routes = [route("foo.com", f"10.0.0.{w}:80", algorithm="iphash", weight=w) for w in (1, 100)]
    assert problems(*routes) == [
        "foo.com: weights 1 to 100 become 1 to 30: with this algorithm nginx pays for each unit of weight"
    ]
