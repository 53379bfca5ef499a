"""The vars of a request that came as HTTP/1.1."""

from __future__ import annotations

import pytest

from fastroute.router.protocol.wire import decode_vars
from fastroute.router.relay.http.head import head_of
from fastroute.router.relay.http.request_head import BadHead, read_request_head
from fastroute.router.relay.http.request_vars import UNIX_CLIENT, HttpPeer, packet_of_request, path_info
from fastroute.router.relay.trusted_networks import TrustedNetworks

STRANGER = HttpPeer(b"192.0.2.1", b"4711", b"8000", False)
PROXY = HttpPeer(b"127.0.0.1", b"4711", b"8000", True)
UNIX_PROXY = HttpPeer(UNIX_CLIENT, b"", b"", True)


def packet(*lines: str, peer: HttpPeer = STRANGER, request: str = "GET / HTTP/1.1", host: str = "foo.com") -> bytes:
    text = "\r\n".join([request, f"Host: {host}", *lines, "", ""])
    return packet_of_request(read_request_head(text.encode("latin-1")), peer)


def vars_of(*lines: str, peer: HttpPeer = STRANGER, **more: str) -> dict[str, str]:
    pairs = decode_vars(packet(*lines, peer=peer, **more), 4)
    assert len(dict(pairs)) == len(pairs)
    return {name.decode(): value.decode("latin-1") for name, value in pairs}


def test_all_vars_of_a_request() -> None:
    request = "POST /a%2Fb//c/./d%3f?x=1&y HTTP/1.1"
    lines = ("Content-Length: 3", "Content-Type: text/x", "User-Agent: t")
    assert vars_of(*lines, request=request, host="Foo.com:8000") == {
        "QUERY_STRING": "x=1&y", "REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "3",
        "REQUEST_URI": "/a%2Fb//c/./d%3f?x=1&y", "PATH_INFO": "/a/b/c/d?", "SERVER_PROTOCOL": "HTTP/1.1",
        "DOCUMENT_ROOT": "",
        "REQUEST_SCHEME": "http", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "4711", "SERVER_PORT": "8000",
        "SERVER_NAME": "Foo.com", "HTTP_HOST": "Foo.com:8000", "HTTP_USER_AGENT": "t", "FASTROUTE_FORWARDED": "1",
        "HTTP_X_FORWARDED_FOR": "192.0.2.1", "HTTP_X_FORWARDED_PROTO": "http", "HTTP_X_FORWARDED_PORT": "8000",
        "HTTP_X_FORWARDED_HOST": "Foo.com:8000",
    }  # fmt: skip


def test_a_request_with_nothing_in_it() -> None:
    said = vars_of(request="GET / HTTP/1.0")
    assert (said["QUERY_STRING"], said["CONTENT_TYPE"], said["CONTENT_LENGTH"]) == ("", "", "")
    assert said["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert "HTTPS" not in said


FORWARDED = ("X-Forwarded-For: 198.51.100.7, 203.0.113.9", "X-Forwarded-Proto: https",
             "X-Forwarded-Host: outer.com", "X-Forwarded-Port: 443",
             "X-Forwarded-Prefix: /p", "X-Real-IP: 203.0.113.9", "Forwarded: for=x")  # fmt: skip


def test_a_stranger_says_nothing_of_its_origin() -> None:
    plain, claiming = vars_of(), vars_of(*FORWARDED, "X_Forwarded_For: 9.9.9.9", "X_Real_IP: 9.9.9.9")
    assert claiming == plain


@pytest.mark.parametrize("peer", [PROXY, UNIX_PROXY])
def test_a_trusted_proxy_is_believed(peer: HttpPeer) -> None:
    said = vars_of(*FORWARDED, peer=peer)
    assert (said["REMOTE_ADDR"], said["REMOTE_PORT"], said["REQUEST_SCHEME"], said["HTTPS"], said["SERVER_PORT"]) == (
        "203.0.113.9", "", "https", "on", "443"
    )  # fmt: skip
    forwarded = {name: value for name, value in said.items() if "FORWARDED" in name or "REAL" in name}
    assert forwarded == {
        "FASTROUTE_FORWARDED": "1", "HTTP_X_FORWARDED_FOR": "198.51.100.7, 203.0.113.9", "HTTP_FORWARDED": "for=x",
        "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "outer.com", "HTTP_X_FORWARDED_PORT": "443",
        "HTTP_X_FORWARDED_PREFIX": "/p", "HTTP_X_REAL_IP": "203.0.113.9",
    }  # fmt: skip


def test_a_trusted_proxy_that_says_nothing() -> None:
    said = vars_of(peer=PROXY)
    assert (said["REMOTE_ADDR"], said["REMOTE_PORT"], said["SERVER_PORT"]) == ("127.0.0.1", "4711", "8000")
    said = vars_of(peer=UNIX_PROXY, host="foo.com:81")
    assert (said["REMOTE_ADDR"], said["REMOTE_PORT"], said["SERVER_PORT"]) == ("unix:", "", "80")
    assert "HTTP_X_FORWARDED_FOR" not in said
    assert said["HTTP_X_FORWARDED_PORT"] == "81"
    assert vars_of("X-Forwarded-Proto: HTTPS", peer=UNIX_PROXY)["SERVER_PORT"] == "443"


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("203.0.113.9", "203.0.113.9"), (" 10.0.0.1 ,203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9:51000", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"), ("[2001:db8::7]:443", "2001:db8::7"), ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("unknown", "127.0.0.1"), ("203.0.113.9, evil", "127.0.0.1"), ("a.b.c.d", "127.0.0.1"), (",", "127.0.0.1"),
    ],
)  # fmt: skip
def test_the_last_address_that_a_trusted_proxy_names_is_the_clients(hops: str, address: str) -> None:
    assert vars_of(f"X-Forwarded-For: {hops}", peer=PROXY)["REMOTE_ADDR"] == address
    first, _, last = hops.rpartition(",")
    if first:
        said = vars_of(f"X-Forwarded-For: {first}", f"X-Forwarded-For: {last}", peer=PROXY)
        assert said["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("203.0.113.9, 10.0.0.1", "203.0.113.9"), ("9.9.9.9, 203.0.113.9, 10.0.0.1, 10.9.9.9:80", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"), ("10.0.0.1, 10.0.0.2", "10.0.0.1"), ("evil, 10.0.0.2", "10.0.0.2"),
        ("9.9.9.9, 999.9.9.9, 10.0.0.2", "999.9.9.9"), ("9.9.9.9, fd00::1", "9.9.9.9"),
    ],
)  # fmt: skip
def test_proxies_behind_the_client_are_passed_over(hops: str, address: str) -> None:
    proxies = TrustedNetworks(["10.0.0.0/8", "fd00::/8"])
    for trusted in (True, False):
        peer = HttpPeer(b"127.0.0.1", b"4711", b"8000", trusted, proxies)
        assert vars_of(f"X-Forwarded-For: {hops}", peer=peer)["REMOTE_ADDR"] == (address if trusted else "127.0.0.1")


def test_an_http_worker_gets_what_the_front_says() -> None:
    def forwarded(*lines: str, peer: HttpPeer) -> list[str]:
        made = packet(*lines, peer=peer)
        text = head_of(made, len(made), b"").text.decode()
        return [line[12:] for line in text.split("\r\n") if line.startswith("X-Forwarded-")]

    assert forwarded(*FORWARDED, peer=STRANGER) == ["For: 192.0.2.1", "Proto: http", "Host: foo.com", "Port: 8000"]
    assert forwarded(*FORWARDED, peer=PROXY) == [
        "Prefix: /p", "For: 198.51.100.7, 203.0.113.9", "Proto: https", "Host: outer.com", "Port: 443",
    ]  # fmt: skip


def test_a_body_in_chunks_and_an_upgrade() -> None:
    assert vars_of("Transfer-Encoding: chunked")["HTTP_TRANSFER_ENCODING"] == "chunked"
    said = vars_of("Upgrade: websocket", "Connection: keep-alive, upgrade")
    assert (said["HTTP_CONNECTION"], said["HTTP_UPGRADE"]) == ("Upgrade", "websocket")


def test_a_head_that_makes_more_vars_than_a_packet_holds_is_too_large() -> None:
    with pytest.raises(BadHead, match="bytes of vars") as refused:
        packet(*(f"A{number}:" for number in range(6000)))
    assert refused.value.kind == "too-large"


#: As nginx 1.22 says (tests/end_to_end/test_http_front.py asks the one that is there).
PATHS = [
    ("/", "/"), ("/a/b", "/a/b"), ("/a//b", "/a/b"), ("//a", "/a"), ("/a%2Fb", "/a/b"), ("/a%2f%2Fb", "/a/b"),
    ("/a/./b", "/a/b"), ("/a/.", "/a/"), ("/.", "/"), ("/a/../b", "/b"), ("/a/..", "/"), ("/a/b/..", "/a/"),
    ("/a/b/../", "/a/"), ("/a/%2e%2E/b", "/b"), ("/a..b/.c/...", "/a..b/.c/..."), ("/%41%3f%23", "/A?#"),
    ("/\xe9%C3%A9", "/\xe9\xc3\xa9"), ("/a%0ab", "/a\nb"), ("*", "*"), ("/a/", "/a/"), ("/a//", "/a/"),
    ("/%252e", "/%2e"), ("/a+b", "/a+b"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "info"), PATHS)
def test_path_info(path: str, info: str) -> None:
    assert path_info(path.encode("latin-1")) == info.encode("latin-1")


@pytest.mark.parametrize(
    ("path", "info"),
    [
        ("/", "/"), ("//", "//"), ("/a//b", "/a//b"), ("/a//", "/a//"), ("/a%2F/b/", "/a//b/"), ("/.//a", "//a"),
        ("/a//.", "/a//"), ("/a/.", "/a/"), ("/a/b/..", "/a/"), ("/a/..", "/"), ("/a/../b", "/b"), ("/a//./b", "/a//b"),
    ],
)  # fmt: skip
def test_slashes_may_stay(path: str, info: str) -> None:
    assert path_info(path.encode(), merges_slashes=False) == info.encode()


@pytest.mark.parametrize("path", ["/..", "/a/../..", "/%2e%2e/a", "/a%00b", "/%", "/%4", "/%zz", "/a//../b", "/..//a"])
def test_paths_that_no_worker_gets(path: str) -> None:
    with pytest.raises(BadHead) as refused:
        path_info(path.encode())
    assert refused.value.kind == "bad-request"
