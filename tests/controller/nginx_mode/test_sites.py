"""Servers and locations answer for the same keys as the router would: its own search is the oracle."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.entries import pool_row

from fastroute.controller.nginx_mode.sites import MAX_BLOCKS, MIN_PORTS, ServerBlock, server_blocks
from fastroute.router.protocol.wire import encode_packet, encode_vars
from fastroute.router.relay.replica import Replica

HOSTS = ("foo.com", "a.foo.com", "b.a.foo.com", "bar.com", "foo", "[::1]")
NAMES = (*HOSTS, "*.foo.com", "*.com", "*.a.foo.com")
PATHS = ("", "/a", "/a/b", "/ab", "/a/b/c")
PORTS = ("", ":80", ":8080")

keys = st.builds(lambda name, port, path: name + port + path, *map(st.sampled_from, (NAMES, PORTS, PATHS)))


def as_nginx(found: list[ServerBlock], host: str, port: str, path: str) -> str | None:
    """The choice of nginx: exact server name, longest wildcard; longest location of whole segments."""
    servers = {place.host: place for place in found}
    labels = host.split(".")
    wild = ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    place = next((servers[name] for name in (host, *wild) if name in servers), None)
    if place is None:
        return None
    fitting = [one for one in place.locations if not one.path or path == one.path or path.startswith(f"{one.path}/")]
    location = max(fitting, key=lambda one: len(one.path))
    return dict(location.ports).get(port, location.key)


@settings(max_examples=400, deadline=None)
@given(
    st.sets(keys, max_size=8), st.sampled_from(HOSTS), st.sampled_from(PORTS), st.sampled_from((*PATHS, "/a/x", "/abc"))
)
def test_nginx_finds_what_the_router_finds(keys: set[str], host: str, port: str, path: str) -> None:
    replica = Replica(random.Random(1))
    replica.apply([["reset"], *(pool_row(key, "wrr") for key in sorted(keys)), ["done"]])
    packet = encode_packet(0, 0, encode_vars([(b"HTTP_HOST", (host + port).encode()), (b"PATH_INFO", path.encode())]))
    pool = replica.find((host + port).encode(), packet, len(packet))
    assert as_nginx(server_blocks(keys), host, port.removeprefix(":"), path) == (pool.key if pool else None)


def test_ports_times_paths_are_bounded() -> None:
    """A block for each of 100 ports in each of 100 locations cost nginx 20 s and 1.7 GB for each test and reload."""
    ports, paths = [f"foo.com:{port}" for port in range(1000, 1100)], [f"foo.com/p{number}" for number in range(99)]
    (place,) = server_blocks(["foo.com", *ports, *paths])
    assert len(place.locations) == 100
    assert sum(len(location.ports) for location in place.locations) == MIN_PORTS * 100
    assert place.left_out == tuple(ports[MIN_PORTS:])
    (place,) = server_blocks(["foo.com", *ports])
    assert [len(location.ports) for location in place.locations] == [MAX_BLOCKS]
    (place,) = server_blocks(["foo.com", *ports[:4], *paths])
    assert place.left_out == ()


def test_ports_of_a_wildcard_are_bounded_in_each_of_its_hosts() -> None:
    found = server_blocks(
        ["*.com", *(f"*.com:{port}" for port in range(1000, 1100)), *(f"h{n}.com/api" for n in range(50))]
    )
    assert all(sum(len(one.ports) for one in place.locations) <= MAX_BLOCKS for place in found)
