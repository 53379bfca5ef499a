"""All sources together, and keys that left a moment ago."""

from support.nginx_states import desired, route

from fastroute.controller.nginx_mode.desired_routes import KEY_GRACE, DesiredRoutes

A, B, OTHER = route("foo.com", "10.0.0.1:80"), route("foo.com", "10.0.0.2:80", "b"), route("bar.com", "10.0.0.3:80")


def test_nodes_that_leave_are_a_removal_and_the_last_one_is_urgent() -> None:
    wanted = DesiredRoutes(1)
    assert wanted.put(0, "docker", desired(A, B), 0.0) == "none"
    assert wanted.put(0, "docker", desired(A), 1.0) == "removal"
    assert wanted.put(0, "docker", desired(route("foo.com", "", "a")), 2.0) == "urgent"
    assert wanted.put(0, "docker", desired(A, B), 3.0) == "none"
    draining = route("foo.com", "10.0.0.1:80", drain=True)
    assert wanted.put(0, "docker", desired(draining, B), 4.0) == "removal"
    assert wanted.put(0, "docker", desired(draining, route("foo.com", "10.0.0.2:80", "b", weight=9)), 5.0) == "none"
    assert wanted.put(0, "docker", desired(draining), 6.0) == "urgent"
    assert wanted.put(0, "docker", {}, 7.0) == "none"


def test_another_source_keeps_a_key_alive() -> None:
    wanted = DesiredRoutes(2)
    wanted.put(0, "docker", desired(A), 0.0)
    assert not wanted.complete
    wanted.put(1, "static", desired(B), 0.0)
    assert wanted.complete
    assert wanted.put(0, "docker", {}, 1.0) == "removal"
    assert set(wanted.routes(1.0)) == {B.id}


def test_a_key_is_known_for_a_while_after_its_last_container() -> None:
    wanted = DesiredRoutes(1)
    wanted.put(0, "docker", desired(A, OTHER), 0.0)
    assert wanted.put(0, "docker", desired(OTHER), 1.0) == "urgent"
    assert {(key, address) for key, address, _ in wanted.routes(2.0)} == {("foo.com", ""), ("bar.com", "10.0.0.3:80")}
    assert wanted.next_expiry == 1.0 + KEY_GRACE
    assert not wanted.expire(KEY_GRACE)
    assert wanted.expire(1.0 + KEY_GRACE)
    assert {key for key, _, _ in wanted.routes(2.0 + KEY_GRACE)} == {"bar.com"}


def test_a_key_that_comes_back_is_not_forgotten() -> None:
    wanted = DesiredRoutes(1)
    wanted.put(0, "docker", desired(A), 0.0)
    wanted.put(0, "docker", {}, 1.0)
    wanted.put(0, "docker", desired(B), 2.0)
    assert wanted.next_expiry is None
    assert set(wanted.routes(500.0)) == {B.id}


def test_served_routes_apart_by_source() -> None:
    wanted = DesiredRoutes(2)
    wanted.put(0, "docker", desired(A), 0.0)
    wanted.put(1, "static", desired(OTHER), 0.0)
    assert wanted.by_source(desired(A, OTHER)) == [(desired(A), "docker"), (desired(OTHER), "static")]
