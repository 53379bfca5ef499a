"""Status, metrics and stats of a table and counters, without sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from support.entries import make_entry

from fastroute.router.config.settings import Settings
from fastroute.router.control import metrics, stats, status
from fastroute.router.control.control import Control
from fastroute.router.control.counters import Counters
from fastroute.router.control.spans import SpanQueue
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.key_state import AnnouncedState
from fastroute.router.protocol.latency import ANSWER, WAITED, LatencyCounts
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.subscription import Announcement, Entry

NOW = 1_000.0
OWNER = "4f5a@2026-01-31T12:00:00Z"


def control(table: Table, counters: Counters | None = None) -> Control:
    """What admin and stats read of the control process."""
    facts = SimpleNamespace(
        table=table, counters=counters or Counters(), settings=Settings(), started=NOW - 5, cheap=False, ready=True,
        subscriptions=SimpleNamespace(results={("applied", ""): 3}, dropped=0), relays=SimpleNamespace(channels=[]),
        bound=["127.0.0.1:3031", "127.0.0.1:3031"], static_pools=(), own_nodes=SimpleNamespace(refused={}, count=0),
        connections={}, spans=SpanQueue(),
    )  # fmt: skip
    return cast(Control, facts)


def scene(table: Table, counters: Counters | None = None) -> status.StatusContext:
    return status.StatusContext(table, counters or Counters(), NOW, 1_800_000_000.0)


def rendered(table: Table, counters: Counters | None = None) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads("".join(status.render(scene(table, counters), {"version": "x"}))))


def announced(*entries: Entry, source: str = "", instance: int = -1, seq: int = -1) -> Table:
    table = Table()
    table.apply(Announcement(entries=entries, source=source, instance=instance, seq=seq), "127.0.0.1", NOW)
    return table


def test_status_of_an_empty_router_is_valid_and_has_no_keys() -> None:
    assert rendered(Table()) == {
        "schema": "fastroute.status/v1", "router": {"version": "x"}, "controller": None, "keys": [],
    }  # fmt: skip


def test_a_node_shows_who_announced_it_for_whom_and_its_counters() -> None:
    table = announced(make_entry("foo.com", "10.0.0.1:80", weight=3, owner=OWNER), source="ctl-1", instance=1, seq=1)
    counters = Counters()
    counters.update(0, {"nodes": [["foo.com", "10.0.0.1:80", 7, 1, 100, 50, 2, 0]], "keys": [["foo.com", 8]]})
    (key,) = rendered(table, counters)["keys"]
    assert (key["key"], key["algorithm"], key["ready"], key["total"], key["requests"]) == ("foo.com", "wrr", 1, 1, 8)
    assert key["nodes"] == [{
        "address": "10.0.0.1:80", "state": "ready", "source": "ctl-1", "container": "4f5a", "weight": 3, "backup": 0,
        "max": 0, "ramp": 0, "zone": None, "sessions": 0, "requests": 7, "in_flight": 2, "failures": 1, "timeouts": 0,
        "ejections": 0, "reason": "", "rate": 0.0, "error_rate": 0.0, "p50_ms": None, "p95_ms": None,
        "statuses": {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0},
        "tx": 100, "rx": 50,
        "last_seen": "2027-01-15T08:00:00.000Z",
    }]  # fmt: skip


def test_a_key_shows_what_is_said_of_its_https() -> None:
    keys = rendered(announced(Entry("a.com", "10.0.0.1:80", NodeOptions(tls="redirect", hsts=86_400)),
                              Entry("b.com", "10.0.0.2:80")))["keys"]  # fmt: skip
    assert [(key["tls"], key["hsts"]) for key in keys] == [("redirect", 86_400), ("auto", 0)]


def test_a_key_shows_how_its_requests_are_balanced_beyond_addresses() -> None:
    said = NodeOptions(sticky="cookie:foo", eject="errors", mount="script-name", ramp=30.0)
    a, b = rendered(announced(Entry("a.com/api", "10.0.0.1:80", said), Entry("b.com", "10.0.0.2:80")))["keys"]
    assert (a["sticky"], a["eject"], a["mount"], a["nodes"][0]["ramp"]) == ("foo", "errors", "script-name", 30)
    assert (b["sticky"], b["eject"], b["mount"], b["nodes"][0]["ramp"]) == (None, None, "keep", 0)


def test_states_are_ready_draining_ejected_and_stale_and_a_stale_node_still_serves() -> None:
    entries = (Entry("foo.com", "10.0.0.1:80"), Entry("foo.com", "10.0.0.2:80", drain=True))
    table = announced(*entries, Entry("foo.com", "10.0.0.3:80"), source="c", instance=1, seq=1)
    counters = Counters()
    counters.update(0, {"nodes": [["foo.com", "10.0.0.1:80", 1, 1, 0, 0, 0, 1]]})
    table.expire(NOW + 30)
    (key,) = rendered(table, counters)["keys"]
    assert [node["state"] for node in key["nodes"]] == ["ejected", "draining", "stale"]
    assert (key["ready"], key["total"]) == (1, 3)


def test_a_key_of_many_pieces_has_every_node_once() -> None:
    many = [Entry("foo.com", f"10.0.{n // 250}.{n % 250}:80") for n in range(status.MAX_NODES_PER_PIECE * 3 + 1)]
    table = announced(*many, Entry("bar.com", "10.9.9.9:80"))
    keys = {key["key"]: key for key in rendered(table)["keys"]}
    assert {node["address"] for node in keys["foo.com"]["nodes"]} == {entry.address for entry in many}
    assert keys["foo.com"]["ready"] == len(many)
    one = json.loads("".join(status.render_key(scene(table), table.pools["foo.com"])))
    assert (one["key"], len(one["nodes"])) == ("foo.com", len(many))


def test_a_node_that_leaves_while_the_answer_is_made_is_left_out() -> None:
    many = [Entry("foo.com", f"10.0.{n // 250}.{n % 250}:80") for n in range(status.MAX_NODES_PER_PIECE * 2)]
    table = announced(*many)
    pieces = status.render(scene(table), {})
    text = next(pieces) + next(pieces)
    table.apply(Announcement(entries=(Entry("foo.com", many[-1].address, gone=True),)), "127.0.0.1", NOW)
    (key,) = json.loads(text + "".join(pieces))["keys"]
    assert key["total"] == len(key["nodes"]) == len(many) - 1


def test_metrics_are_valid_and_each_family_appears_once_however_many_pieces_it_took() -> None:
    table = announced(*(Entry(f"k{n}.com", "10.0.0.1:80") for n in range(metrics.MAX_SAMPLES_PER_PIECE * 2 + 1)))
    text = b"".join(metrics.render(control(table), NOW)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families["fastroute_node_requests"].samples) == metrics.MAX_SAMPLES_PER_PIECE * 2 + 1
    assert families["fastroute_node_requests"].samples[0].labels == {"key": "k0.com", "node": "10.0.0.1:80"}
    assert families["fastroute_subscriptions"].samples[0].labels == {"result": "applied", "reason": ""}
    assert text.count("# TYPE fastroute_node_requests_total ") == 1
    assert all(name.startswith("fastroute_") for name in families)


def test_metrics_beyond_the_bound_are_counted_and_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 2)
    table = announced(*(Entry(f"k{n}.com", "10.0.0.1:80") for n in range(5)))
    text = b"".join(metrics.render(control(table), NOW)).decode()
    assert text.count("\nfastroute_node_requests_total{") == 2
    assert "fastroute_metrics_left_out 6.0" in text


def timed(*keys: str) -> Counters:
    counters, times = Counters(), LatencyCounts()
    times.connected(0.0)
    times.answered(0.2)
    numbers = [1, 0, 0, 0, 0, 0, 0, [0, 1, 0, 0, 0], times.report(), 0]
    counters.update(0, {"nodes": [[key, "10.0.0.1:80", *numbers] for key in keys]})
    return counters


def test_histograms_are_per_key_and_cumulative_and_those_of_keys_without_requests_are_not_there() -> None:
    table = announced(*(Entry(key, f"10.0.0.{n}:80") for n, key in enumerate(("foo.com", "foo.com", "idle.com"))))
    text = b"".join(metrics.render(control(table, timed("foo.com")), NOW)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["fastroute_key_answer_seconds"].samples
    assert {sample.labels["key"] for sample in samples} == {"foo.com"}
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert (buckets["0.1"], buckets["0.25"], buckets["+Inf"], len(buckets)) == (0, 1, 1, len(ANSWER) + 1)
    assert {sample.name: sample.value for sample in samples}["fastroute_key_answer_seconds_sum"] == 0.2
    connects = families["fastroute_key_connect_seconds"].samples
    assert [sample.value for sample in connects if sample.name.endswith("_count")] == [1]


def test_series_of_nodes_and_keys_that_are_gone_vanish() -> None:
    table = Table(key_grace=0)
    table.apply(Announcement(entries=(Entry("foo.com", "10.0.0.1:80"),)), "127.0.0.1", NOW)
    counters = timed("foo.com")
    assert b'"foo.com"' in b"".join(metrics.render(control(table, counters), NOW))
    table.apply(Announcement(entries=(Entry("foo.com", "10.0.0.1:80", gone=True),)), "127.0.0.1", NOW)
    table.expire(NOW + 1)
    assert b'"foo.com"' not in b"".join(metrics.render(control(table, counters), NOW))


def test_histograms_beyond_the_bound_are_counted_and_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(metrics, "MAX_HISTOGRAMS", 2)
    table = announced(*(Entry(f"k{n}.com", "10.0.0.1:80") for n in range(5)))
    text = b"".join(metrics.render(control(table, timed(*(f"k{n}.com" for n in range(5)))), NOW)).decode()
    assert text.count("\nfastroute_key_answer_seconds_count{") == 2
    assert "fastroute_metrics_histograms_left_out 3.0" in text


def test_stats_have_the_fields_of_the_original() -> None:
    table = announced(
        make_entry("foo.com", "10.0.0.1:80", modifier1=5, cores=4), Entry("foo.com", "10.0.0.2:80", drain=True)
    )
    counters = Counters()
    counters.update(0, {"nodes": [["foo.com", "10.0.0.1:80", 7, 1, 100, 50, 2, 0]], "keys": [["foo.com", 8]]})
    counters.update(1, {"nodes": [["foo.com", "10.0.0.1:80", 3, 0, 10, 5, 1, 0]], "keys": [["foo.com", 3]]})
    found = json.loads("".join(stats.render(control(table, counters))))
    assert {"version", "pid", "uid", "gid", "cwd", "active_sessions", "fastrouter", "cheap"} < found.keys()
    (pool,) = found["subscriptions"]
    assert (pool["key"], pool["hash"], pool["hits"], pool["sni_enabled"]) == ("foo.com", 11571, 11, 0)
    one, two = pool["nodes"]
    assert (one["name"], one["modifier1"], one["cores"]) == ("10.0.0.1:80", 5, 4)
    assert (one["requests"], one["tx"], one["rx"], one["ref"], one["failcnt"]) == (10, 110, 55, 3, 1)
    assert (one["death_mark"], two["death_mark"]) == (0, 1)


def _slowest(pieces: Iterable[object]) -> float:
    """The 99th percentile of CPU seconds a piece (one in a hundred may pay for a garbage collection)."""
    times, began = list[float](), time.thread_time()
    for _ in pieces:
        now = time.thread_time()
        times.append(now - began)
        began = now
    return sorted(times)[int(len(times) * 0.99) - 1]


def test_no_piece_of_any_answer_holds_the_loop_over_five_milliseconds() -> None:
    many_keys = announced(*(Entry(f"k{n}.example.com", "10.0.0.1:80") for n in range(10_000)))
    one_key = announced(*(Entry("foo.com", f"10.0.{n // 250}.{n % 250}:80") for n in range(10_000)))
    for table in (many_keys, one_key):
        facts = control(table, timed(*table.pools))
        assert _slowest(status.render(scene(table), {})) < 0.005
        assert _slowest(metrics.render(facts, NOW)) < 0.005
        assert _slowest(stats.render(facts)) < 0.005


def test_a_held_key_shows_its_state_with_its_end_and_all_its_queues() -> None:
    table = announced(make_entry("foo.com", "10.0.0.1:80", wait=15.0, max=4))
    held = Entry("bar.com", owner="operator", state=AnnouncedState("maintenance", "back at 9", ("10.0.0.0/8",), 60, 1))
    table.apply(Announcement(entries=(held,), source="operator"), "127.0.0.1", NOW - 20)
    counters = Counters()
    for relay in (0, 1):
        counters.update(relay, {"waits": [["foo.com", 2, [0, 3, *[0] * (len(WAITED) - 1), 0.6], 1]]})
    bar, foo = rendered(table, counters)["keys"]
    assert (foo["state"], foo["until"], foo["wait"], foo["waiting"], foo["nodes"][0]["max"]) == (
        "serving", None, 15, 4, 4,
    )  # fmt: skip
    assert (bar["state"], bar["until"], bar["message"], bar["allow"]) == (
        "maintenance", "2027-01-15T08:00:40.000Z", "back at 9", ["10.0.0.0/8"],
    )  # fmt: skip
    assert (bar["ready"], bar["total"], bar["waiting"]) == (0, 0, 0)
    text = b"".join(metrics.render(control(table, counters), NOW)).decode()
    samples = {(s.name, s.labels.get("key") or s.labels.get("state"), s.labels.get("le")): s.value
               for family in text_string_to_metric_families(text) for s in family.samples}  # fmt: skip
    assert samples["fastroute_waiting", "foo.com", None] == 4
    assert ("fastroute_waiting", "bar.com", None) not in samples
    assert samples["fastroute_waited_seconds_bucket", "foo.com", "0.1"] == 0
    assert samples["fastroute_waited_seconds_bucket", "foo.com", "0.25"] == 6
    assert samples["fastroute_waited_seconds_count", "foo.com", None] == 6
    assert samples["fastroute_waited_seconds_sum", "foo.com", None] == 1.2
    assert samples["fastroute_keys_held", "maintenance", None] == 1
    assert samples["fastroute_keys_held", "paused", None] == 0
