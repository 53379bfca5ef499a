"""``certs``: what fastroute-certs says of each host."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]

LISTING = {
    "schema": "fastroute.certificates/v1",
    "certificates": [
        {"host": "bar.com", "state": "failed", "expires": None, "issuer": None, "next": "2026-12-01T00:00:00Z",
         "reason": "bar.com does not come here: it resolves to 192.0.2.1"},
        {"host": "foo.com", "state": "valid", "expires": "2027-01-31T12:00:00Z", "issuer": "R11", "reason": "",
         "next": "2027-01-01T12:00:00Z"},
    ],
}  # fmt: skip


def test_each_host_with_its_state_and_the_reason(ctl: Ctl, serve: Serve) -> None:
    url = serve({"/v1/certificates": LISTING}).url
    ran = ctl("--certs-url", url, "certs")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split(maxsplit=4) for line in ran.out.splitlines()]
    assert rows[0] == ["HOST", "STATE", "EXPIRES", "ISSUER", "REASON"]
    assert rows[1] == ["bar.com", "failed", "-", "-", "bar.com does not come here: it resolves to 192.0.2.1"]
    assert rows[2] == ["foo.com", "valid", "2027-01-31T12:00:00Z", "R11"]
    assert "2026-12-01" in ctl("--certs-url", url, "certs", "-o", "wide").out


def test_other_forms(ctl: Ctl, serve: Serve) -> None:
    url = serve({"/v1/certificates": LISTING}).url
    assert json.loads(ctl("--certs-url", url, "certs", "-o", "json").out) == LISTING
    assert yaml.safe_load(ctl("--certs-url", url, "certs", "-o", "yaml").out)["schema"] == LISTING["schema"]
    assert ctl("--certs-url", url, "certs", "-o", "name").out == "bar.com\nfoo.com\n"


def test_nobody_there_is_3_and_says_where_it_was_looked_for(ctl: Ctl) -> None:
    ran = ctl("certs")
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
    assert "can't reach fastroute-certs at http://127.0.0.1:1" in ran.err
    assert "--certs-url or FASTROUTE_CERTS_URL" in ran.err


def test_no_hosts(ctl: Ctl, serve: Serve) -> None:
    ran = ctl("--certs-url", serve({"/v1/certificates": {**LISTING, "certificates": []}}).url, "certs")
    assert (ran.code, ran.out.count("no hosts")) == (0, 1)


def test_ps_and_describe_say_why_a_host_has_no_certificate(ctl: Ctl, serve: Serve) -> None:
    row = {"id": "4f5a", "name": "web", "state": "ready", "reason": None, "health": None, "since": None,
           "routes": [{"key": "bar.com:80/api", "address": "10.0.0.1:80"}]}  # fmt: skip
    key: dict[str, Any] = {"key": "bar.com", "algorithm": None, "ready": 1, "total": 1, "requests": 0, "nodes": []}
    url = serve({"/v1/certificates": LISTING, "/v1/containers": {"containers": [row]}, "/v1/keys/bar.com": key}).url
    urls = ("--certs-url", url, "--controller-url", url, "--router-url", url)
    shown = ctl(*urls, "ps").out
    assert "no certificate for bar.com: bar.com does not come here" in shown
    assert "no certificate" not in ctl(*urls[2:], "ps").out
    described = ctl(*urls, "describe", "bar.com").out
    assert "HTTPS      failed: bar.com does not come here" in described
