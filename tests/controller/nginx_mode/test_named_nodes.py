"""Nodes that are names."""

from support.nginx_states import desired, route

from fastroute.controller.nginx_mode.named_nodes import expanded, name_of

NAMED, PLAIN = route("foo.com", "worker.local:80"), route("foo.com", "10.0.0.1:80", "b")


def test_every_address_behind_a_name_is_a_node() -> None:
    found = expanded(desired(NAMED, PLAIN), lambda host: ("10.0.0.7", "fd00::7", "fe80::1%eth0"))
    assert sorted(address for _, address, _ in found) == ["10.0.0.1:80", "10.0.0.7:80", "[fd00::7]:80"]
    assert expanded(desired(NAMED), lambda host: ()) == desired(NAMED)
    assert (name_of(NAMED), name_of(PLAIN), name_of(route("foo.com", ""))) == (("worker.local", 80), ("", 0), ("", 0))
