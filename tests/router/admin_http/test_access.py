"""By which names the admin HTTP may be asked."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from fastroute.router.admin_http.access import AccessPolicy, refuse_host


@pytest.mark.parametrize(
    ("host", "name", "may"),
    [
        ("router:3033", "router", True),
        ("ROUTER", "Router", True),
        ("router.evil.example", "router", False),
        ("evil.example", "", False),
        ("evil.example", "0.0.0.0", False),
        ("evil.example@localhost", "", True),
        ("localhost@evil.example", "", False),
        ("2130706433", "", False),
        ("[fe80::1%25eth0]:3033", "", True),
        ("[", "", False),
        (":3033", "", False),
        ("", "", True),
    ],
)
def test_addresses_localhost_and_the_name_in_admin_may(host: str, name: str, may: bool) -> None:
    request = Request({"type": "http", "headers": [(b"host", host.encode())], "client": ("127.0.0.1", 5)})
    assert (refuse_host(request, AccessPolicy(unix=False, token_file=None, name=name)) == "") is may
    assert refuse_host(request, AccessPolicy(unix=True, token_file=None, name=name)) == ""
