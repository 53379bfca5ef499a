"""The router's metrics in Prometheus' text format, in pieces, so that no scrape holds the control loop.

The exposition is prometheus-client's own; a family with more than ``MAX_SAMPLES_PER_PIECE`` samples is exposed part by
part, and every part but the first loses its HELP and TYPE lines.  Labels are ``key`` and ``node`` and nothing that
clients choose; past ``MAX_SERIES`` nodes (or keys) the rest is left out, and ``fastroute_metrics_left_out`` says how
many; histograms and classes of status are per key only, of ``MAX_HISTOGRAMS`` keys.  What is not in the table has no
series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import fastroute
from fastroute.router.control.answer_counts import CLASSES
from fastroute.router.control.control import Control
from fastroute.router.control.count_records import NodeCounters
from fastroute.router.control.counters import Counters
from fastroute.router.control.status import serving, state_of
from fastroute.router.control.table.membership import Member
from fastroute.router.protocol.key_state import MAINTENANCE, PAUSED
from fastroute.router.protocol.latency import ANSWER, CONNECT, WAITED
from fastroute.router.protocol.static_pools import MARK

#: Samples in one piece: about a millisecond of work.
MAX_SAMPLES_PER_PIECE = 100
#: Keys, and nodes: what a Prometheus server takes from one target without complaint.
MAX_SERIES = 20_000
#: Keys with histograms and responses by class, the oldest first: each has 31 series, and 15 more once a request has
#: waited.
MAX_HISTOGRAMS = 2_000

CONTENT_TYPE = CONTENT_TYPE_LATEST

Sample = tuple[Sequence[str], Any]
#: A key's counts in the buckets of a histogram, and the sum; None: it has none yet.
Row = Callable[[Counters, str], Sequence[float] | None]
#: The member is None where nobody announced the node.
NodeValue = Callable[[Member | None, NodeCounters], float]


def _up(member: Member | None, of: NodeCounters) -> bool:
    return not of.ejected if member is None else serving(state_of(member, of.ejected))


_NODE_COUNTERS: tuple[tuple[str, str, NodeValue], ...] = (
    ("fastroute_node_requests", "Requests relayed to the node", lambda _, of: of.requests),
    ("fastroute_node_failures", "Failures of the node", lambda _, of: of.failures),
    ("fastroute_node_timeouts", "Requests that the node did not answer in time", lambda _, of: of.timeouts),
    ("fastroute_node_ejections", "Times that the node was ejected", lambda _, of: of.ejections),
    ("fastroute_node_tx_bytes", "Bytes that the node sent", lambda _, of: of.tx),
    ("fastroute_node_rx_bytes", "Bytes sent to the node", lambda _, of: of.rx),
)
_NODE_GAUGES: tuple[tuple[str, str, NodeValue], ...] = (
    ("fastroute_node_in_flight", "Requests running on the node", lambda _, of: of.in_flight),
    ("fastroute_node_up", "1 while the node gets new requests", _up),
    (
        "fastroute_node_stale",
        "1 while the controller that announced it is silent",
        lambda member, _: member is not None and member.stale,
    ),
)


def _connect(counters: Counters, key: str) -> Sequence[float] | None:
    return answers.connect if (answers := counters.answers(key)) is not None else None


def _answer(counters: Counters, key: str) -> Sequence[float] | None:
    return answers.answer if (answers := counters.answers(key)) is not None else None


def _waited(counters: Counters, key: str) -> Sequence[float] | None:
    return waits.waited if (waits := counters.waits(key)) is not None else None


_HISTOGRAMS: tuple[tuple[str, str, Sequence[float], Row], ...] = (
    ("fastroute_key_connect_seconds", "From the connect to a node until it accepted", CONNECT, _connect),
    ("fastroute_key_answer_seconds", "From then until the first byte of its answer", ANSWER, _answer),
    ("fastroute_waited_seconds", "That requests waited for a node, whatever came of it", WAITED, _waited),
)


class _Once(Collector):
    """Collects one family: what prometheus-client's exposition takes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """The family."""
        return (self._metric,)


def render(control: Control, now: float) -> Iterator[bytes]:
    """All metrics, in pieces; ``now`` is monotonic."""
    for family, samples in _of_router(control, now):
        yield from _exposed(family, samples)
    keys = [(key, key) for key in islice(control.table.pools, MAX_SERIES)]
    nodes = list(islice(_nodes(control), MAX_SERIES))
    left_out = len(control.table.pools) - len(keys) + control.table.node_count - len(nodes)
    yield from _exposed(_gauge("fastroute_metrics_left_out", "Keys and nodes without series"), [((), left_out)])
    others = list(control.static_pools)
    # A mapped key that was announced as well has one series of its requests, which counts both.
    keys += [(pool.key, pool.name) for pool in others if pool.key not in control.table.pools]
    nodes += [
        (pool.key, pool.name, at)
        for pool in others
        for at in pool.addresses
        if not _known(control, pool.key, at) and (pool.name, at) not in control.own_nodes.refused
    ]
    yield from _exposed(
        CounterMetricFamily("fastroute_key_requests", "Requests for the key while it was known", labels=["key"]),
        (((key,), control.counters.hits(name)) for key, name in keys),
    )
    sizes = {pool.name: len(pool.addresses) for pool in others}
    yield from _exposed(
        _gauge("fastroute_key_nodes", "Nodes of the key", "key"),
        (((key,), sizes[name] if name in sizes else _size(control, key)) for key, name in keys),
    )
    yield from _exposed(
        _gauge("fastroute_waiting", "Requests that wait for a node of the key; only of keys where one waited", "key"),
        (((key,), waits.waiting) for key, name in keys if (waits := control.counters.waits(name)) is not None),
    )
    for name, text, value in _NODE_COUNTERS:
        yield from _exposed(CounterMetricFamily(name, text, labels=["key", "node"]), _of_nodes(control, nodes, value))
    for name, text, value in _NODE_GAUGES:
        yield from _exposed(_gauge(name, text, "key", "node"), _of_nodes(control, nodes, value))
    yield from _histograms(control, keys)


def _histograms(control: Control, keys: list[tuple[str, str]]) -> Iterator[bytes]:
    counters = control.counters
    counted = [(key, name) for key, name in keys if counters.answers(name) or counters.waits(name)]
    left_out = max(0, len(counted) - MAX_HISTOGRAMS)
    gauge = _gauge("fastroute_metrics_histograms_left_out", "Keys without histograms and responses, beyond the limit")
    yield from _exposed(gauge, [((), left_out)])
    responses = CounterMetricFamily("fastroute_responses", "Answers to requests for the key, by class of status, "
                                    "the router's own included", labels=["key", "status"])  # fmt: skip
    yield from _exposed(responses, _responses(counters, counted[:MAX_HISTOGRAMS]))
    for name, text, bounds, row in _HISTOGRAMS:
        family = HistogramMetricFamily(name, text, labels=["key"])
        samples = _of_rows(counters, counted[:MAX_HISTOGRAMS], bounds, row)
        yield from _exposed(family, samples, MAX_SAMPLES_PER_PIECE // len(bounds))


def _responses(counters: Counters, keys: list[tuple[str, str]]) -> Iterator[Sample]:
    for key, name in keys:
        if (answers := counters.answers(name)) is not None:
            for status, count in zip(CLASSES, answers.statuses, strict=True):
                # The others begin at 0, so that the first one is an increase; few keys ever have a 101.
                if count or status != "1xx":
                    yield (key, status), count


def _of_rows(counters: Counters, keys: list[tuple[str, str]], bounds: Sequence[float], row: Row) -> Iterator[Sample]:
    for key, name in keys:
        if (numbers := row(counters, name)) is not None:
            *counts, seconds = numbers
            names = (*map(floatToGoString, bounds), "+Inf")
            yield (key,), (list(zip(names, accumulate(counts), strict=True)), seconds)


def _of_router(control: Control, now: float) -> Iterator[tuple[Metric, Iterable[Sample]]]:
    counters, table, results = control.counters, control.table, control.subscriptions.results
    yield _gauge("fastroute_build_info", "The version that runs", "version"), [((fastroute.__version__,), 1)]
    yield _gauge("fastroute_uptime_seconds", "Since control started"), [((), now - control.started)]
    yield _gauge("fastroute_ready", "1 while requests are served"), [((), control.ready)]
    yield _gauge("fastroute_cheap", "1 while in cheap mode"), [((), control.cheap)]
    yield CounterMetricFamily("fastroute_requests", "Requests taken from front sockets"), [((), counters.requests)]
    yield _gauge("fastroute_requests_in_flight", "Requests running"), [((), counters.in_flight)]
    yield _counter("fastroute_errors", "Requests that the router answered itself", "kind"), _rows(counters.errors)
    yield (
        CounterMetricFamily("fastroute_subscriptions", "Subscription packets", labels=["result", "reason"]),
        [(names, results[names]) for names in sorted(results)],
    )
    spans = control.spans
    ended = (("exported", spans.exported), ("dropped", spans.dropped), ("refused", spans.refused))
    yield _counter("fastroute_spans", "Spans of requests", "result"), [((result,), count) for result, count in ended]
    dropped = control.subscriptions.dropped
    yield (
        CounterMetricFamily("fastroute_subscriptions_dropped", "Datagrams that the kernel dropped, sockets being full"),
        [((), dropped)],
    )
    yield _gauge("fastroute_keys", "Known keys"), [((), len(table.pools))]
    held = Counter(held.state.name for held in table.states.held())
    yield (
        _gauge("fastroute_keys_held", "Keys that an operator paused, or put in maintenance", "state"),
        [((state,), held[state]) for state in (PAUSED, MAINTENANCE)],
    )
    yield _gauge("fastroute_nodes", "Nodes of all keys"), [((), table.node_count)]
    own = control.own_nodes
    yield _gauge("fastroute_nodes_own", "Nodes that are this router, and get no requests"), [((), len(own.refused))]
    yield CounterMetricFamily("fastroute_nodes_refused", "Nodes found to be this router itself"), [((), own.count)]
    yield from _of_sources(control, now)
    yield from _of_connections(control)


def _of_sources(control: Control, now: float) -> Iterator[tuple[Metric, Iterable[Sample]]]:
    sources = list(islice(control.table.sources.values(), MAX_SERIES))
    silent = [((source.name,), source.silent) for source in sources]
    yield (
        _gauge("fastroute_source_entries", "Entries that the source has announced", "source"),
        [((source.name,), source.count) for source in sources],
    )
    yield (
        _counter("fastroute_source_repeated", "Entries that came again, as their ack was late or lost", "source"),
        [((source.name,), source.repeated) for source in sources],
    )
    yield (
        _gauge("fastroute_source_age_seconds", "Since the source was heard last", "source"),
        [((source.name,), max(0.0, now - source.seen)) for source in sources],
    )
    yield _gauge("fastroute_source_silent", "1 while the source is silent: its nodes are stale", "source"), silent


def _of_connections(control: Control) -> Iterator[tuple[Metric, Iterable[Sample]]]:
    servers = sorted(control.connections.items())
    yield (
        _gauge("fastroute_server_connections", "Connections to the admin or stats socket", "server"),
        [((name,), len(connections)) for name, connections in servers],
    )
    ended = "Connections that gave way: slow (the peer took too long) or limit (there were too many)"
    yield (
        CounterMetricFamily("fastroute_server_connections_ended", ended, labels=["server", "reason"]),
        [((name, reason), count) for name, connections in servers for reason, count in connections.ended.items()],
    )
    channels = control.relays.channels
    yield (
        _gauge("fastroute_relay_alive", "1 while the relay runs", "relay"),
        [((str(channel.index),), channel.alive) for channel in channels],
    )
    yield (
        _gauge("fastroute_relay_lag", "Changes that the relay has not applied yet", "relay"),
        [((str(channel.index),), channel.lag if channel.alive else 0) for channel in channels],
    )
    yield (
        _counter("fastroute_relay_resets", "Times that the relay lagged and got a snapshot", "relay"),
        [((str(channel.index),), channel.resets) for channel in channels],
    )


def _nodes(control: Control) -> Iterator[tuple[str, str, str]]:
    return ((key, key, address) for key, pool in control.table.pools.items() for address in pool.members)


def _known(control: Control, key: str, address: str) -> bool:
    return control.table.member(key, address) is not None


def _size(control: Control, key: str) -> int:
    pool = control.table.pools.get(key)
    return len(pool.members) if pool else 0


def _of_nodes(control: Control, nodes: list[tuple[str, str, str]], value: NodeValue) -> Iterator[Sample]:
    for key, name, address in nodes:
        member = control.table.member(key, address)
        if member is not None or name.startswith(MARK):
            yield (key, address), value(member, control.counters.node(name, address))


def _rows(counts: dict[str, int]) -> list[Sample]:
    return [((name,), counts[name]) for name in sorted(counts)]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _counter(name: str, text: str, label: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=[label])


def _exposed(family: Metric, samples: Iterable[Sample], piece: int = MAX_SAMPLES_PER_PIECE) -> Iterator[bytes]:
    """``family`` with ``samples`` as text, ``piece`` of them at a time."""
    rest, first = iter(samples), True
    while (part := list(islice(rest, piece))) or first:
        family.samples = []
        for labels, value in part:
            add = family.add_metric  # type: ignore[attr-defined]  # every family that is made here has it
            add(labels, *(value if isinstance(value, tuple) else (value,)))
        text = generate_latest(_Once(family))
        yield text if first else b"".join(line for line in text.splitlines(True) if not line.startswith(b"# "))
        first = False
