"""What of the labels an upstream of nginx can hold."""

from support.nginx_states import route

from fastroute.controller.nginx.upstreams import make_upstream


def problems(*routes: object) -> list[str]:
    return [str(problem) for problem in make_upstream("foo.com", routes).problems]  # type: ignore[arg-type]


def test_balancing_by_algorithm() -> None:
    for algorithm, line in (("", ""), ("wrr", ""), ("lrc", "least_conn;"), ("wlrc", "least_conn;"),
                            ("iphash", "hash $remote_addr consistent;"),
                            ("random2", "random two least_conn;")):  # fmt: skip
        found = make_upstream("foo.com", [route("foo.com", "10.0.0.1:80", algorithm=algorithm, weight=3)])
        assert found.balancing == line
        assert found.servers[0].weight == (1 if algorithm == "lrc" else 3)


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
