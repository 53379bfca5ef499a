"""Servers and locations answer for the same keys as the router would: its own search is the oracle."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from fastroute.controller.nginx.sites import Place, places
from fastroute.router.relay.replica import Replica
from fastroute.router.wire import encode_packet, encode_vars

HOSTS = ("foo.com", "a.foo.com", "b.a.foo.com", "bar.com", "foo", "[::1]")
NAMES = (*HOSTS, "*.foo.com", "*.com", "*.a.foo.com")
PATHS = ("", "/a", "/a/b", "/ab", "/a/b/c")
PORTS = ("", ":80", ":8080")

keys = st.builds(lambda name, port, path: name + port + path, *map(st.sampled_from, (NAMES, PORTS, PATHS)))


def as_nginx(found: list[Place], host: str, port: str, path: str) -> str | None:
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
    replica.apply([["reset"], *(["pool", key, "wrr"] for key in sorted(keys)), ["done"]])
    packet = encode_packet(0, 0, encode_vars([(b"HTTP_HOST", (host + port).encode()), (b"PATH_INFO", path.encode())]))
    pool = replica.find((host + port).encode(), packet, len(packet))
    assert as_nginx(places(keys), host, port.removeprefix(":"), path) == (pool.key if pool else None)
