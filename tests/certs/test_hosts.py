"""Which hosts want a certificate, as statuses of routers and controllers show them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.certs.ca.failures import limited_domain, seconds_of
from fastroute.certs.decide.hosts import (
    HostTls,
    folder_of,
    host_of_folder,
    host_of_key,
    hosts_in_status,
    is_host_name,
    merged_hosts,
    refuse_to_ask,
)

READY = [{"address": "127.0.0.1:1", "state": "ready"}]


def status(*keys: Any) -> dict[str, Any]:
    return {"keys": [{"nodes": READY, **(key if isinstance(key, dict) else {"key": key})} for key in keys]}


def test_keys_with_port_and_path_are_of_their_host_and_our_own_challenge_is_nobody_s() -> None:
    keys = (
        "foo.com",
        "bar.com/api",
        "baz.com:8080",
        "*.qux.com",
        "new.com/.well-known/acme-challenge",
        "1.2.3.4",
        "[::1]",
    )
    assert set(hosts_in_status(status(*keys))) == {"foo.com", "bar.com", "baz.com", "*.qux.com"}


@pytest.mark.parametrize("state", ["draining", "ejected", "stale"])
def test_only_a_ready_node_counts(state: str) -> None:
    assert hosts_in_status({"keys": [{"key": "foo.com", "nodes": [{"state": state}]}]}) == {}


def test_the_host_s_own_key_decides_else_its_others_together() -> None:
    off, redirect = {"tls": "off", "tls_set": True}, {"tls": "redirect", "tls_set": True, "hsts": 86400}
    own = hosts_in_status(status({"key": "foo.com", **off}, {"key": "foo.com/api", **redirect}))
    assert own == {"foo.com": HostTls("off", True)}
    both = hosts_in_status(status({"key": "foo.com/x", **off}, {"key": "foo.com/api", **redirect}))
    assert both == {"foo.com": HostTls("redirect", True, 86400)}
    merged = merged_hosts([{"foo.com": HostTls()}, {"foo.com": HostTls("off", True)}])
    assert merged == {"foo.com": HostTls("off", True)}
    assert hosts_in_status(status({"key": "foo.com", "tls": "sideways", "hsts": 5})) == {"foo.com": HostTls()}


names = st.sampled_from(["keys", "key", "nodes", "tls", "state"])
json_values = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner),
    max_leaves=10,
)


@given(json_values)
def test_whatever_a_status_is_it_is_read_as_something(value: Any) -> None:
    hosts_in_status(value)


@given(st.text(max_size=300) | st.from_regex(r"[a-z0-9._*/:-]{1,60}", fullmatch=True))
def test_the_folder_of_a_host_stays_in_its_directory_and_names_one_host(key: str) -> None:
    host = host_of_key(key)
    if host:
        folder = folder_of(host)
        assert PurePosixPath(folder).name == folder
        assert not folder.startswith(".")
        assert host_of_folder(folder) == host
        assert is_host_name(host)


def test_why_no_ca_is_asked() -> None:
    public, private = "https://acme-v02.api.letsencrypt.org/directory", "https://ca.internal:9000/acme"
    assert "--dns-hook" in refuse_to_ask("*.foo.com", private, dns_hook=False)
    assert refuse_to_ask("*.foo.com", public, dns_hook=True) == ""
    assert "without a dot" in refuse_to_ask("intranet", public, dns_hook=True)
    assert refuse_to_ask("intranet", private, dns_hook=False) == ""
    assert "no public CA" in refuse_to_ask("foo.local", public, dns_hook=False)
    assert refuse_to_ask("foo.local", private, dns_hook=False) == ""


def test_the_domain_that_a_limit_names() -> None:
    text = 'too many certificates (50) already issued for "example.com" in the last 168h0m0s, retry after 2026-12-01'
    assert limited_domain(text, "a.example.com") == "example.com"
    assert limited_domain(text, "badexample.com") == ""
    same = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s"
    assert limited_domain(same, "a.example.com") == "a.example.com"
    assert limited_domain("too many new orders (300) from this account in the last 3h0m0s", "a.example.com") == ""


def test_retry_after_in_both_forms() -> None:
    assert seconds_of("120", 0) == 120
    assert seconds_of("Thu, 01 Jan 1970 00:02:00 GMT", 0) == 120
    for nothing in ("", "soon", "-5", "1e9", "Thu, 99 Jan 1970", "٣"):
        assert seconds_of(nothing, 0) == 0


@given(st.text())
def test_whatever_a_header_says_it_is_a_time(text: str) -> None:
    assert 0 <= seconds_of(text, 1e9) < 1e9
