"""The path of a key leaves the path that its application sees, whichever way a client wrote it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.uwsgi_client import request_packet

from fastroute.router.protocol.key import path_prefixes
from fastroute.router.protocol.wire import WireError, decode_vars
from fastroute.router.relay.http.head import head_of
from fastroute.router.relay.mount import Mount


def mounted(mount: str, uri: str, http: bool = False, **more: str) -> dict[str, str]:
    packet = request_packet("foo.com", path=uri, body=b"a body", **more)
    end = len(packet) - 6
    changed, stop = Mount(mount.encode()).mounted(packet, end, http)
    assert changed[stop:] == b"a body"
    pairs = decode_vars(changed[:stop], 4)
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name.decode(): value.decode("latin-1") for name, value in pairs}


def target(mount: str, uri: str, **more: str) -> str:
    packet = request_packet("foo.com", path=uri, **more)  # type: ignore[arg-type]
    changed, end = Mount(mount.encode()).mounted(packet, len(packet), True)
    return head_of(changed, end, b"foo.com").text.split(b" ")[1].decode()


@pytest.mark.parametrize(
    ("uri", "path_info"),
    [("/api", ""), ("/api/", "/"), ("/api/x", "/x"), ("/api/x/", "/x/"), ("/api//x", "//x"), ("//api/x", "/x"),
     ("/api/api", "/api"), ("/api/x?a=/api", "/x")],
)  # fmt: skip
def test_a_uwsgi_worker_gets_script_name_and_the_rest(uri: str, path_info: str) -> None:
    found = mounted("/api", uri)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["REQUEST_URI"]) == ("/api", path_info, uri)
    assert found["HTTP_X_FORWARDED_PREFIX"] == "/api"


@pytest.mark.parametrize("uri", ["/apix", "/", "/ap", "/x/api", "/API/x", "/api%2", "*"])
def test_another_path_stays_as_it_is(uri: str) -> None:
    for http in (False, True):
        found = mounted("/api", uri, http)
        assert (found.get("SCRIPT_NAME"), found["PATH_INFO"], found["REQUEST_URI"]) == (None, uri, uri)


@pytest.mark.parametrize(
    ("uri", "path_info", "expected"),
    [
        ("/api", "/api", "/"), ("/api?a=1", "/api", "/?a=1"), ("/api/", "/api/", "/"), ("/api/x", "/api/x", "/x"),
        # As it came, where the front has not changed it: %2F is no slash.
        ("/api/a%2Fb?c=%2F", "/api/a/b", "/a%2Fb?c=%2F"),
        # What the front merged or resolved is made of PATH_INFO.
        ("/%61pi/a%20b", "/api/a b", "/a%20b"), ("/x/../api/y?q", "/api/y", "/y?q"), ("/api//x", "/api/x", "/x"),
        ("/api/./x", "/api/x", "/x"), ("/api/a%3Fb", "/api/a?b", "/a%3Fb"), ("/y/../api/%C3%A4", "/api/ä", "/%C3%A4"),
        # Never the beginning of a host.
        ("/api//evil.test/x", "/api//evil.test/x", "/evil.test/x"), ("//api//x", "//api//x", "/x"),
    ],
)  # fmt: skip
def test_an_http_worker_gets_a_target_without_it(uri: str, path_info: str, expected: str) -> None:
    assert target("/api", uri, PATH_INFO=path_info.encode().decode("latin-1")) == expected


def test_a_front_that_sends_no_path_info() -> None:
    found = mounted("/api", "/%61pi/b%20c", PATH_INFO="")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/api", "/b c")
    assert target("/api", "/api/b%20c?d", PATH_INFO="") == "/b%20c?d"


def test_script_name_of_the_front_stays_in_front() -> None:
    assert mounted("/api", "/api/x", SCRIPT_NAME="/outer")["SCRIPT_NAME"] == "/outer/api"


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize("name", ["HTTP_X_FORWARDED_PREFIX", "HTTP_X-Forwarded-Prefix", "HTTP_x_forwarded_prefix"])
def test_a_clients_own_prefix_never_gets_through(name: str, http: bool) -> None:
    found = mounted("/api", "/api/x", http, **{name: "/evil"})
    assert "/evil" not in found.values()
    assert found["HTTP_X_FORWARDED_PREFIX"] == "/api"


def test_what_a_regular_expression_could_take_for_its_own_is_a_path() -> None:
    assert mounted("/a.b+(c)", "/a.b+(c)/x")["PATH_INFO"] == "/x"
    assert mounted("/a.b", "/axb/x")["PATH_INFO"] == "/axb/x"


def test_a_packet_without_room_is_refused() -> None:
    packet = request_packet("foo.com", path="/api/x", A="x" * 65_000)
    filled = request_packet("foo.com", path="/api/x", A="x" * (65_000 + 65_535 + 4 - len(packet)))
    with pytest.raises(WireError):
        Mount(b"/api").mounted(filled, len(filled), False)


# But question marks, which the search for a key takes for the end of a path.
segments = st.text("ab.%/~ äé", max_size=6)


@given(
    st.lists(st.sampled_from(["a", "b", "a.b"]), min_size=1, max_size=3), st.lists(segments, max_size=4), st.booleans()
)
def test_where_the_key_is_found_its_path_is_taken_off_and_nowhere_else(
    key: list[str], rest: list[str], found: bool
) -> None:
    mount = "/" + "/".join(key)
    path = ((mount if found else "") + "/" + "/".join(rest)).encode()
    packet = request_packet("foo.com", path="/x", PATH_INFO=path.decode("latin-1"))
    changed, end = Mount(mount.encode()).mounted(packet, len(packet), False)
    after = dict(decode_vars(changed, 4, end))
    if mount.encode() in path_prefixes(path, 255):
        assert after[b"SCRIPT_NAME"] == mount.encode()
        assert path.endswith(after[b"PATH_INFO"])
        assert after[b"PATH_INFO"][:1] in (b"", b"/")
        http, stop = Mount(mount.encode()).mounted(packet, len(packet), True)
        line = head_of(http, stop, b"foo.com").text.split(b" ")[1]
        assert b"/" + after[b"PATH_INFO"].lstrip(b"/") == unquote_to_bytes(line)
    else:
        assert changed == packet
