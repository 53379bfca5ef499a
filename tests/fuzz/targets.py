"""What is fuzzed: functions of any bytes, each with its invariant in one sentence.

The same functions run under hypothesis in every test run, over the kept corpus, and under atheris (atheris_main.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from fuzz.front_script import run_front
from fuzz.http import framed_answer, http_answer, http_head, request_head
from fuzz.kept_script import run_kept
from fuzz.relay_script import run_relay
from support.entries import pool_row

from fastroute.router.compat.dotsplit import dotsplit_hosts
from fastroute.router.config.command_line import InfoRequested
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import read_section, sections_of
from fastroute.router.config.options import PROGRAM, parse
from fastroute.router.config.uwsgi_options import read_ini
from fastroute.router.control.auth.rules import AdmissionRules
from fastroute.router.control.relays import node_op, pool_op
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import MAX_FIELD
from fastroute.router.protocol.key import MAX_KEY, spellings
from fastroute.router.protocol.subscription import PacketError, decode
from fastroute.router.protocol.wire import WireError, decode_vars, encode_vars, find_vars, vars_problem
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.vars import REQUEST_VARS, body_size, path_of, repeatable, requested_key, variables


def codec(data: bytes) -> None:
    """A block of vars is refused, or it is exactly what encoding its pairs gives."""
    try:
        pairs = decode_vars(data)
    except WireError:
        return
    assert encode_vars(pairs) == data


def key_search(data: bytes) -> None:
    """The hot path's search agrees with the codec, whatever comes behind the block, and everything else that is asked
    of a packet works on what it let pass."""
    size = int.from_bytes(data[:2], "little") % (len(data[2:]) + 1)
    packet = b"\0" + size.to_bytes(2, "little") + b"\0" + data[2:]
    end = 4 + size
    values = find_vars(packet, end, REQUEST_VARS)
    try:
        found = dict(decode_vars(packet[4:end]))
    except WireError:
        assert values is None
        assert vars_problem(packet, 4, end)
        return
    assert values is not None
    names = (b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME")
    asked = next((found[name] for name in names if found.get(name)), b"")
    assert requested_key(values) == asked
    assert variables(packet, end) == found
    raw_path = found.get(b"REQUEST_URI", b"").split(b"?")[0]
    assert path_of(packet, end) == (found.get(b"PATH_INFO") or unquote_to_bytes(raw_path))
    assert body_size(found.get(b"CONTENT_LENGTH", b"")) >= 0
    assert not (repeatable(packet, end) and len(packet) > end)
    assert not asked or spellings(asked)[0] == asked
    _lookup(asked, packet, end)


def _lookup(asked: bytes, packet: bytes, end: int) -> None:
    """Remembering an answer changes none, with and without keys that have paths."""
    for keys in (("a.b", "*.b", ".b"), ("a.b", "*.b", "a.b/c", "c/d/e")):
        replica = Replica(random.Random(1), dotsplit_hosts)
        replica.apply([["reset"], *(pool_row(key, "wrr") for key in keys), ["done"]])
        first = replica.find(asked, packet, end)
        assert replica.find(asked, packet, end) is first


def subscriptions(data: bytes) -> None:
    """Datagrams into the table: refused with a reason, or applied; what the table then tells the relays is well-formed,
    and when all is silent for long enough nothing of a sender that expires is left."""
    table = Table(tolerance=25, key_grace=60, stale_max=600)
    rules = AdmissionRules(["127.0.0.0/8", "10.0.0.0/8"])
    now = 0.0
    reasons: set[str] = set()
    while data:
        size = 1 + int.from_bytes(data[:2], "little") % 600
        sender = ip_address("10.0.0.7" if data[0] & 1 else "127.0.0.1")
        datagram, data = data[2 : 2 + size], data[2 + size :]
        now += 0.5
        try:
            announcement = decode(datagram)
            if hasattr(announcement, "entries"):
                rules.check(announcement, sender)  # type: ignore[arg-type]
                table.apply(announcement, str(sender), now)  # type: ignore[arg-type]
        except PacketError as error:
            reasons.add(error.reason)
        _check_table(table)
    assert all(0 < len(reason) < 30 for reason in reasons)
    for step in (26.0, 100.0, 700.0, 1500.0):
        table.expire(now + step)
        _check_table(table)
    assert all(claim.id.source and claim.instance < 0 for claim in table.records()), "silent for ever"


def _check_table(table: Table) -> None:
    assert table.node_count == sum(len(pool.members) for pool in table.pools.values())
    replica = Replica(random.Random(1))
    ops: list[list[object]] = [["reset"]]
    for pool in table.pools.values():
        assert 0 < len(pool.name) <= MAX_KEY
        ops.append(pool_op(pool))
        for address, member in pool.members.items():
            assert 0 < len(address) <= MAX_FIELD
            ops.append(node_op(pool.name, member))
    assert not replica.apply([*ops, ["done"]]), "relays take whatever the table holds"
    for table_pool in table.pools.values():
        assert set(replica.pools[table_pool.name.encode("latin-1")].nodes) == set(table_pool.members)


def uwsgi_ini(data: bytes) -> None:
    """An INI is read, or refused with one line that names a file."""
    text, _, included = data.decode("latin-1").partition("\0")
    said = _refusal(lambda: read_ini(text, "r.ini", {"A": "b"}, lambda _: included))
    assert len(said.splitlines()) == 1
    assert ":" in said


def yaml(data: bytes) -> None:
    """A YAML file is read, or refused with one line that names it."""
    said = _refusal(lambda: read_section(PROGRAM, sections_of(data, "r.yaml").get("router"), "r.yaml"))
    assert len(said.splitlines()) == 1
    assert said.startswith("r")


def command_line(data: bytes) -> None:
    """Words and variables make settings, or are refused with one line."""
    words = [word.decode("latin-1") for word in data.split(b"\0")]
    variables = {"FASTROUTE_LISTEN": words.pop()} if data[:1] == b"-" else {}
    try:
        said = _refusal(
            lambda: parse([word for word in words if not word.startswith(("/", "@")) or len(word) > 200], variables)
        )
    except InfoRequested:
        return
    assert len(said.splitlines()) == 1


def _refusal(read: Callable[[], object]) -> str:
    try:
        read()
    except ConfigurationError as error:
        return str(error)
    return "r: fine"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": codec,
    "key_search": key_search,
    "subscriptions": subscriptions,
    "uwsgi_ini": uwsgi_ini,
    "yaml": yaml,
    "command_line": command_line,
    "http_answer": http_answer,
    "http_head": http_head,
    "request_head": request_head,
    "framed_answer": framed_answer,
    "relay": run_relay,
    "relay_kept": run_kept,
    "relay_front": run_front,
}
