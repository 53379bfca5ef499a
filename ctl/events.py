"""``events``: what Docker said, what was decided, what the routers did; ``-f`` goes on until interrupted.

Router and controller are asked at the same time; one that does not answer is said and left out.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import yaml

from fastroute.ctl.api import Api, Program
from fastroute.ctl.errors import CtlError, Unreachable
from fastroute.ctl.keys import is_nginx_mode
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import as_json
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.logs import printable

PROGRAMS: tuple[Program, Program] = ("controller", "router")
SCHEMA = "fastroute.event/v1"


@click.command("events")
@click.option("--follow", "-f", is_flag=True, help="Go on with each new event as it comes.")
@global_options
@click.pass_obj
def command(settings: CtlSettings, follow: bool) -> int:
    """Docker event, decision, packet, result: of the controller and the router, by time."""
    programs: tuple[Program, ...] = ("controller",) if is_nginx_mode(settings) else PROGRAMS
    readers = [Reader(settings, program, follow=follow) for program in programs]
    if follow:
        _follow(settings, readers)
    else:
        events = [event for reader in readers for event in reader.events()]
        _raise_if_none(readers)
        for event in sorted(events, key=lambda event: str(event["time"])):
            _print(settings, event)
    return 0


class Reader:
    """The events of one program.  ``quiet``: one that does not answer is nothing to tell."""

    def __init__(self, settings: CtlSettings, program: Program, *, follow: bool, quiet: bool = False) -> None:
        self.trouble, self._quiet = "", quiet
        self._program, self._path = program, f"/v1/events{'' if follow else '?follow=0'}"
        self._api = Api(settings, program)

    def events(self) -> Iterator[dict[str, Any]]:
        """Each event with its ``program``, until the stream ends; ``trouble`` says why if it can't be had."""
        try:
            with self._api.stream(self._path) as lines:
                for text in lines:
                    if text.startswith("data: "):
                        yield self._readable(text[6:])
        except CtlError as error:
            self.trouble = str(error)
            if not self._quiet:
                click.echo(f"fastroute-ctl: {error}", err=True)

    def _readable(self, text: str) -> dict[str, Any]:
        try:
            event = read_json(text)
            moment = event.pop("time", None)
            if isinstance(moment, float | int):
                moment = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        except (ValueError, OverflowError, AttributeError, TypeError):
            raise CtlError(f"{self._api.url} is not a fastroute {self._program}: no event: {text[:80]!r}") from None
        return {"time": moment, "program": self._program, **{n: value for n, value in event.items() if value != ""}}


def _follow(settings: CtlSettings, readers: list[Reader]) -> None:
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read(reader: Reader) -> None:
        for event in reader.events():
            waiting.put(event)
        waiting.put(None)

    for reader in readers:
        threading.Thread(target=read, args=(reader,), daemon=True).start()
    ended = 0
    while ended < len(readers):
        event = waiting.get()
        if event is None:
            ended += 1
            continue
        _print(settings, event)
        sys.stdout.flush()
    _raise_if_none(readers)


def _raise_if_none(readers: list[Reader]) -> None:
    if all(reader.trouble for reader in readers):
        raise Unreachable("neither router nor controller answers")


def _print(settings: CtlSettings, event: dict[str, Any]) -> None:
    if settings.format == "json":
        print(as_json({"schema": SCHEMA, **event}))
    elif settings.format == "yaml":
        print(yaml.safe_dump([{"schema": SCHEMA, **event}], sort_keys=False), end="")
    else:
        print(line(event))


def line(event: dict[str, Any]) -> str:
    """The text of an event, in one line."""
    about = [str(event[name]) for name in ("container", "key", "node") if event.get(name)]
    words = [event["time"], f"{event['program']:<10}", f"{event.get('kind', '?'):<14}", " ".join(about)]
    return printable(" ".join(str(word) for word in (*words, event.get("text")) if word))
