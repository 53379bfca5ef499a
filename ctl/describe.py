"""``describe KEY|CONTAINER``: all that is known of it, from router and controller, with what happened last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.certs import certificates_by_host, host_of
from fastroute.ctl.completion import complete_targets
from fastroute.ctl.errors import DONE, NOT_THERE, Answered, CtlError, Unreachable
from fastroute.ctl.events import PROGRAMS, Reader, line
from fastroute.ctl.keys import key_row
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import age, show, size, state, table
from fastroute.ctl.status import state_text
from fastroute.ctl.watch import watched
from fastroute.router.protocol.key import normalise_key, shown_key

SCHEMA = "fastroute.describe/v1"
_FACTS = {"Engine": "engine", "Project": "project", "Service": "service", "Task": "task", "Node": "node"}
#: Of what happened lately, so many lines.
_EVENTS = 20


@click.command("describe")
@click.argument("name", metavar="KEY|CONTAINER", shell_complete=complete_targets)
@global_options
@click.pass_obj
def command(settings: CtlSettings, name: str) -> int:
    """All of a key or of a container (name, id or the beginning of one).

    Labels as read, address and why, health, nodes, last transitions and events."""
    return watched(settings, lambda: _once(settings, name))


def _once(settings: CtlSettings, name: str) -> int:
    troubles: list[CtlError] = []
    container = _tried(troubles, lambda: _container(settings, name))
    key = _tried(troubles, lambda: key_row(settings, name))
    if container is None and key is None:
        if troubles:
            raise troubles[0]
        raise CtlError(f"no key and no labelled container is called {name!r} (fastroute-ctl status and ps show all)")
    result: dict[str, Any] = {"schema": SCHEMA, "key": None, "container": container}
    if key is not None:
        key.pop("schema", None)
        certificate = certificates_by_host(settings).get(host_of(key["key"]))
        result["key"] = {**key, "containers": _containers_of(settings, key["key"]), "certificate": certificate}
    result["events"] = _events(settings, key, container)
    names = [key["key"]] if key else []
    names += [container["name"]] if container else []
    show(settings, result, lambda wide: _tables(result, wide), names)
    return DONE


def _tried(troubles: list[CtlError], ask: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What ``ask`` finds.  An ambiguous name ends everything; who is away may not be needed."""
    try:
        return ask()
    except Unreachable as error:
        troubles.append(error)
        return None


def _container(settings: CtlSettings, name: str) -> dict[str, Any] | None:
    if "/" in name.lstrip("/"):
        return None
    try:
        return Api(settings, "controller").get(f"/v1/containers/{quote(name.lstrip('/'), safe='')}")
    except Answered as error:
        if error.status in NOT_THERE:
            return None
        if error.status == 409:
            raise _ambiguous(settings, name, error) from None
        raise


def _ambiguous(settings: CtlSettings, name: str, error: Answered) -> CtlError:
    rows = Api(settings, "controller").get("/v1/containers")["containers"]
    fits = [f"  {row['name']} ({row['id'][:12]})" for row in rows if row["id"].startswith(name) or row["name"] == name]
    return CtlError("\n".join([f"{name!r} is ambiguous:", *fits])) if fits else error


def _containers_of(settings: CtlSettings, key: str) -> list[dict[str, Any]]:
    """The rows of ``ps`` of containers that want to serve ``key``, routed or not."""
    try:
        rows = Api(settings, "controller").get("/v1/containers")["containers"]
    except CtlError:
        return []
    return [row for row in rows if any(route["key"] == key for route in row["routes"])]


def _events(
    settings: CtlSettings, key: dict[str, Any] | None, container: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """What router and controller remember about it, the newest last."""
    wanted = {("key", normalise_key(key["key"]))} if key else set()
    if container:
        wanted |= {("id", container["id"]), ("container", container["name"])}
    events = [
        event
        for program in PROGRAMS
        for event in Reader(settings, program, follow=False, quiet=True).events()
        if wanted & {(name, value) for name, value in event.items() if isinstance(value, str)}
    ]
    return sorted(events, key=lambda event: str(event["time"]))[-_EVENTS:]


def _tables(result: dict[str, Any], wide: bool) -> Iterator[RenderableType]:
    if result["container"]:
        yield from _container_tables(result["container"])
    if result["key"]:
        if result["container"]:
            yield Text("")
        yield from _key_tables(result["key"], wide)
    if result["events"]:
        yield Text("")
        yield Text("Events", "bold")
        for event in result["events"]:
            yield Text(f"  {line(event)}")


def _container_tables(container: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text.assemble("Container  ", (container["name"], "bold"), f" ({container['id'][:12]})")
    yield Text.assemble(
        "State      ", state(container["state"]), f" for {age(container['since'])}", _after(": ", container["reason"])
    )
    yield Text(f"Health     {container['health'] or 'no HEALTHCHECK'}")
    yield from (Text(f"{title:<11}{container[name]}") for title, name in _FACTS.items() if container.get(name))
    if docker := container.get("docker"):
        yield Text(f"Docker     {docker['status']}, started {age(docker['started'])} ago" if docker["started"] else
                   f"Docker     {docker['status']}")  # fmt: skip
        networks = [f"{network['name']} {network['address'] or 'without address'}" for network in docker["networks"]]
        yield Text(f"Networks   {', '.join(networks) or docker['network_mode']}")
    for title, colour in (("problems", "red"), ("warnings", "yellow")):
        yield from (Text(f"{title[:-1].capitalize():<11}{text}", colour) for text in container.get(title) or ())
    yield Text("Routes", "bold")
    for route in container["routes"]:
        yield Text(
            f"  {shown_key(route['key'])} => {route['address'] or 'no address'}{_after(' (', route.get('why'), ')')}"
        )
        if route.get("state") not in (None, container["state"]):
            yield Text.assemble("    ", state(route["state"]), _after(": ", route.get("reason")))
    if not container["routes"]:
        yield Text("  none")
    if container.get("labels"):
        yield Text("Labels", "bold")
        yield from (Text(f"  {label} = {value}") for label, value in container["labels"].items())
    if container.get("parsed"):
        yield Text("Read as", "bold")
        yield from (Text(f"  {_spec(spec)}") for spec in container["parsed"])
    yield Text("Transitions", "bold")
    for moved in reversed(container.get("transitions") or []):
        because = _after(" (", moved.get("cause"), ")")
        yield Text.assemble(f"  {moved['time']} ", state(moved["state"]), _after(": ", moved["reason"]), because)


def _spec(spec: dict[str, Any]) -> str:
    """The words for a route as parsed: its keys, then what is set, whether by label or by default."""
    fields = {name: value for name, value in spec.items() if name not in ("name", "keys") and value not in ("", None)}
    rest = [f"{name} {value}" for name, value in fields.items()]
    return f"{_after('', spec['name'], ': ')}{', '.join(map(shown_key, spec['keys']))}: {', '.join(rest)}"


def _key_tables(key: dict[str, Any], wide: bool) -> Iterator[RenderableType]:
    yield Text.assemble("Key        ", (shown_key(key["key"]), "bold"))
    yield Text(f"Ready      {key['ready']}/{key['total']}")
    yield Text(f"Algorithm  {key['algorithm'] or 'default'}")
    if key.get("sticky"):
        yield Text(f"Sticky     by the cookie {key['sticky']}")
    if key.get("eject") == "errors":
        yield Text("Eject      nodes whose answers are errors")
    if key.get("mount") == "script-name":
        yield Text("Mount      applications do not see the path of the key")
    yield from _state_lines(key)
    if certificate := key.get("certificate"):
        yield Text.assemble("HTTPS      ", state(certificate["state"]), _after(", until ", certificate["expires"]),
                            _after(": ", certificate["reason"]))  # fmt: skip
    yield Text(f"Requests   {key['requests']}")
    names = {row["id"]: row["name"] for row in key["containers"]}
    if key["nodes"]:
        yield Text("Nodes", "bold")
        columns = ("NODE", "STATE", "WEIGHT", "REQUESTS", "RUNNING", "FAILED", "CONTAINER")
        more = ("SOURCE", "BACKUP", "MAX", "TX", "RX") if wide else ()
        yield table(columns + more, (_node(node, names, wide) for node in key["nodes"]))
        yield from (Text(f"  {node['address']} is ejected: {node['reason']}") for node in key["nodes"]
                    if node.get("reason"))  # fmt: skip
        yield from (Text(f"  {node['address']} keeps its own clients for {node['sessions']:g} s from its drain")
                    for node in key["nodes"] if node.get("sessions"))  # fmt: skip
    if key["containers"]:
        yield Text("Containers", "bold")
        rows = ((row["name"], state(row["state"]), age(row["since"]), row["reason"]) for row in key["containers"])
        yield table(("CONTAINER", "STATE", "SINCE", "REASON"), rows)


def _state_lines(key: dict[str, Any]) -> Iterator[RenderableType]:
    """The lines that say what it is held in, and how requests wait."""
    if text := state_text(key):
        yield Text.assemble("State      ", (text, "yellow"), _after(': "', key.get("message"), '"'))
        if allowed := key.get("allow"):
            yield Text(f"Allowed    {', '.join(allowed)}")
    if key.get("wait") or key.get("waiting"):
        yield Text(f"Wait       {key.get('wait') or 0:g} s, {key.get('waiting', 0)} waiting now")


def _node(node: dict[str, Any], names: dict[str, str], wide: bool) -> tuple[object, ...]:
    container = node["container"] or ""
    cells = (
        node["address"], state(node["state"]), node["weight"], node["requests"], node["in_flight"], node["failures"],
        names.get(container, container[:12]) or "-",
    )  # fmt: skip
    if not wide:
        return cells
    return (*cells, node["source"], node["backup"], node.get("max") or "", size(node["tx"]), size(node["rx"]))


def _after(before: str, text: str | None, behind: str = "") -> str:
    return f"{before}{text}{behind}" if text else ""
