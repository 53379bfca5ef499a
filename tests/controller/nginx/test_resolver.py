"""Nodes that are names."""

import socket
from unittest import mock

from support.nginx_states import desired, route
from support.programs import wait_for

from fastroute.controller.nginx.resolver import Resolver, expanded, name_of

NAMED, PLAIN = route("foo.com", "worker.local:80"), route("foo.com", "10.0.0.1:80", "b")


def test_every_address_behind_a_name_is_a_node() -> None:
    found = expanded(desired(NAMED, PLAIN), {"worker.local": ("10.0.0.7", "fd00::7")})
    assert sorted(address for _, address, _ in found) == ["10.0.0.1:80", "10.0.0.7:80", "[fd00::7]:80"]
    assert expanded(desired(NAMED), {"worker.local": ()}) == desired(NAMED)
    assert (name_of(NAMED), name_of(PLAIN), name_of(route("foo.com", ""))) == (("worker.local", 80), ("", 0), ("", 0))


def test_names_are_looked_up_again_and_keep_their_last_addresses() -> None:
    answers = [["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], OSError("no such name"), ["10.0.0.3"]]
    asked, changes = [], []

    def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(name)
        if isinstance(answer, OSError):
            raise answer
        return [(0, 0, 0, "", (address, 0)) for address in answer]

    with (
        mock.patch.object(socket, "getaddrinfo", getaddrinfo),
        mock.patch("fastroute.controller.nginx.resolver.EVERY", 0.01),
    ):
        resolver = Resolver(lambda: changes.append(resolver.found["worker.local"]))
        resolver.watch(frozenset(["worker.local"]))
        wait_for(lambda: len(changes) == 3, "three changes")
        resolver.close()
    assert changes == [("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("10.0.0.3",)]
