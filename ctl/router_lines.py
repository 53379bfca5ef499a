"""What ``status -o wide`` says of the router itself: its relays, what announcers sent, and who they are.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from fastroute.ctl.show import age


def router_lines(router: Mapping[str, Any]) -> Iterator[Text]:
    """``router`` is that block of the status; an older router has less of it."""
    yield Text(f"router: {router.get('version', '?')}, {router.get('requests', 0)} requests{_relays(router)}")
    if counts := router.get("subscriptions"):
        yield from _subscriptions(counts)
    for node in router.get("refused_nodes", ()):
        yield Text(f"{node['key']} => {node['address']} is the router itself: it gets no requests", _warn(True))
    for source in router.get("sources", ()):
        line = f"source {source['source']}: {source['entries']} entries ({source['repeated']} asked again), heard"
        line += f" {age(source['last_seen'])} ago"
        yield Text(f"{line}; SILENT, its nodes are stale" if source["silent"] else line, _warn(source["silent"]))


def _relays(router: Mapping[str, Any]) -> str:
    relays = router.get("relays", ())
    if not relays:
        return ""
    lags = ", ".join(str(relay["lag"]) if relay["alive"] else "not running" for relay in relays)
    return f", {len(relays)} relays (changes not applied yet: {lags})"


def _subscriptions(counts: Mapping[str, Any]) -> Iterator[Text]:
    results = [f"{count} {result}" for result, count in counts["results"].items()]
    yield Text(f"subscriptions: {', '.join(results) or 'none'}")
    refused = [f"{count} {reason}" for reason, count in counts["refused"].items()]
    if refused or counts["dropped"]:
        dropped = f"{counts['dropped']} dropped by the kernel"
        yield Text(f"subscriptions refused: {', '.join(refused) or 'none'}; {dropped}", _warn(True))


def _warn(wrong: bool) -> str:
    return "yellow" if wrong else ""
