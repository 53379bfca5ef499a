"""``status``: keys, their nodes, and a line about the controller.

The router's ``/v1/status`` with the controller's block in it, when a controller answers; in nginx mode, where there
is no router, the controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.completion import complete_keys
from fastroute.ctl.errors import DEGRADED, DONE, DOWN, FAILED, CtlError
from fastroute.ctl.keys import shows_nginx_mode
from fastroute.ctl.router_lines import router_lines
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import age, left, remark, show, size, state, table
from fastroute.ctl.watch import watched
from fastroute.router.protocol.key import named_key, shown_key
from fastroute.router.protocol.key_state import SERVING

#: WAITING as soon as a request waits.
_COLUMNS = ("KEY / NODE", "READY", "STATE", "WEIGHT", "REQUESTS", "WAITING", "RUNNING", "FAILED", "AGE", "CONTAINER")
_WIDE = ("SOURCE", "BACKUP", "MAX", "TX", "RX", "ALGORITHM", "WAIT")


@click.command("status")
@click.argument("keys", nargs=-1, metavar="[KEY]...", shell_complete=complete_keys)
@click.option("--check", is_flag=True, help="Exit 4 if a node is missing, 5 if a key has none that serves.")
@global_options
@click.pass_obj
def command(settings: CtlSettings, keys: tuple[str, ...], check: bool) -> int:
    """Keys with READY n/m, their nodes, and a line about the controller."""
    return watched(settings, lambda: _once(settings, keys, check))


def _once(settings: CtlSettings, keys: tuple[str, ...], check: bool) -> int:
    status = merged(settings)
    missing = select(status, keys)
    names = containers(settings) if settings.format in ("table", "wide") else {}
    show(settings, status, lambda wide: _tables(status, names, wide), (key["key"] for key in status["keys"]))
    if missing:
        remark(settings, f"no such key: {', '.join(missing)} (fastroute-ctl status shows all)")
    if check:
        return DOWN if missing else verdict(status)
    return FAILED if missing else DONE


def merged(settings: CtlSettings) -> dict[str, Any]:
    """The router's status, with the block of the controller (None when none answers)."""
    try:
        of_controller = Api(settings, "controller").get("/v1/status")
    except CtlError:
        of_controller = {}
    block: dict[str, Any] | None = of_controller.get("controller")
    if block and shows_nginx_mode(block):
        return of_controller
    status = Api(settings, "router").get("/v1/status")
    status["controller"] = block
    return status


def select(status: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """Leave only ``keys`` (if any) in ``status``; returns those that are not there."""
    known = {key["key"] for key in status["keys"]}
    wanted = [key if key in known else named_key(key) for key in keys]
    if wanted:
        status["keys"] = [key for key in status["keys"] if key["key"] in wanted]
    return [key for key in wanted if key not in known]


def verdict(status: dict[str, Any]) -> int:
    """The exit code of --check: 5 when a key has no node that serves, 4 when one has a node that is not ready, the
    controller does not see Docker or not all of it, or nginx does not serve all that it should.

    A key that somebody paused or put in maintenance is degraded, whatever its nodes: nobody has to be woken for it."""
    if any(key["ready"] == 0 and not held(key) for key in status["keys"]):
        return DOWN
    nodes = (node for key in status["keys"] for node in key["nodes"])
    block = status["controller"]
    blind = block is not None and (
        not block.get("connected") or any(engine["trouble"] for engine in block.get("engines", ()))
    )
    unready = any(map(held, status["keys"])) or any(node["state"] != "ready" for node in nodes)
    troubled = blind or unready or nginx_troubles(status["controller"])
    return DEGRADED if troubled else DONE


def held(key: dict[str, Any]) -> bool:
    """Whether an operator paused the key, or put it in maintenance; a router of an older version does not know that."""
    return bool(key.get("state", SERVING) != SERVING)


def state_text(key: dict[str, Any]) -> str:
    """What a key is held in, and for how long; empty: it serves."""
    if not held(key):
        return ""
    return f"{key['state']} {f'for {remaining}' if (remaining := left(key.get('until'))) else 'until resumed'}"


def containers(settings: CtlSettings) -> dict[str, str]:
    """Container id -> name, as far as the controller knows."""
    try:
        rows = Api(settings, "controller").get("/v1/containers")["containers"]
    except (CtlError, KeyError):
        return {}
    return {row["id"]: row["name"] for row in rows}


def controller_line(block: dict[str, Any] | None, wide: bool) -> Text:
    """One line about the controller."""
    if block is None:
        return Text("controller: none answers", "yellow")
    connected = block.get("connected")
    parts = [
        "connected to Docker" if connected else "NOT connected to Docker",
        f"last event {_ago(block.get('last_event'))}",
        f"last comparison {_ago(block.get('last_sync'))}",
    ]
    if wide and (sources := block.get("sources")):
        parts.append(f"announces as {', '.join(sources)}")
    return Text(f"controller: {', '.join(parts)}", "" if connected else "red")


def controller_troubles(block: dict[str, Any] | None) -> list[str]:
    """Which of its engines it does not see, and which of its files it could not take over."""
    block = block or {}
    engines = [f"{engine['url']}: {engine['trouble']}" for engine in block.get("engines", ()) if engine.get("trouble")]
    return engines + [
        f"{file['problem']} (the last good one stays)" for file in block.get("files", ()) if file["problem"]
    ]


def nginx_troubles(block: dict[str, Any] | None) -> list[str]:
    """In nginx mode: why nginx does not serve all that it should."""
    if block is None or not shows_nginx_mode(block):
        return []
    sink = block.get("sink") or {}
    troubles = [f"{key['key']} is set aside: {key['reason']}" for key in sink.get("aside", [])]
    if sink.get("error"):
        troubles.append(sink["error"])
    return troubles if sink.get("answers", True) else [*troubles, "it does not answer"]


def _ago(moment: str | None) -> str:
    return f"{age(moment)} ago" if moment else "never"


def _tables(status: dict[str, Any], names: dict[str, str], wide: bool) -> Iterator[RenderableType]:
    waits = any(key.get("waiting") for key in status["keys"])
    rows = [row for key in status["keys"] for row in _rows(key, names, wide, waits)]
    if rows:
        columns = tuple(name for name in _COLUMNS if name != "WAITING" or waits)
        yield table(columns + _WIDE if wide else columns, rows)
    else:
        yield Text("no keys")
    yield Text("")
    if wide and status["router"]:
        yield from router_lines(status["router"])
    yield controller_line(status["controller"], wide)
    for trouble in controller_troubles(status["controller"]):
        yield Text(f"controller: {trouble}", "red")
    for trouble in nginx_troubles(status["controller"]):
        yield Text(f"nginx: {trouble}", "red")


def _rows(key: dict[str, Any], names: dict[str, str], wide: bool, waits: bool) -> Iterator[tuple[object, ...]]:
    ready = Text(f"{key['ready']}/{key['total']}", _colour(key))
    waiting = (key.get("waiting", 0),) if waits else ()
    blank = (Text(state_text(key), "yellow"), "", key["requests"], *waiting, "", "", "", "")
    wait = "" if key.get("wait") is None else f"{key['wait']:g}"
    yield (shown_key(key["key"]), ready, *blank, *(("", "", "", "", "", key["algorithm"] or "", wait) if wide else ()))
    for node in key["nodes"]:
        container = node["container"] or ""
        yield (
            f"  {node['address']}", "", state(node["state"]), node["weight"], node["requests"],
            *(("",) if waits else ()), node["in_flight"], node["failures"], age(node["last_seen"]),
            _name(container, names),
            *((node["source"], node["backup"], node.get("max") or "", size(node["tx"]), size(node["rx"]), "", "")
              if wide else ()),
        )  # fmt: skip


def _name(container: str, names: dict[str, str]) -> str:
    """The container's name: a router knows its id, a controller the name."""
    return container if container in names.values() else names.get(container, container[:12])


def _colour(key: dict[str, Any]) -> str:
    if key["ready"] == 0:
        return "red"
    return "green" if key["ready"] == key["total"] else "yellow"
