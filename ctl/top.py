"""``top``: keys and nodes by what they do now, redrawn on a terminal, once in a pipe.

An edge: asks routers (from threads, so that one which does not answer holds up no key of the keyboard) and draws.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.completion import complete_keys
from fastroute.ctl.errors import DONE, FAILED, CtlError, Unreachable
from fastroute.ctl.keys import is_nginx_mode
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import console, remark, show, state, table
from fastroute.ctl.status import containers
from fastroute.ctl.status import select as select_keys
from fastroute.ctl.top_rows import (
    SCHEMA,
    SORTS,
    added_up,
    arranged,
    container_name,
    errors,
    milliseconds,
    number,
    running,
    state_text,
    totals,
)
from fastroute.ctl.top_view import TopNumbers, TopView, pressed
from fastroute.ctl.watch import second_screen, watched
from fastroute.router.protocol.key import shown_key

#: Seconds between two questions to the routers.
LOOK_INTERVAL = 1.0
_COLUMNS = ("KEY / NODE", "RATE/S", "5XX/S", "P50 MS", "P95 MS", "RUNNING", "WAITING", "STATE", "CONTAINER")


@click.command("top")
@click.argument("keys", nargs=-1, metavar="[KEY]...", shell_complete=complete_keys)
@click.option("--sort", type=click.Choice(SORTS), default="rate", show_default=True, help="What comes first.")
@click.option("--also", "others", multiple=True, metavar="URL",
              help="Another router, whose numbers are added; repeatable.")  # fmt: skip
@global_options
@click.pass_obj
def command(settings: CtlSettings, keys: tuple[str, ...], sort: str, others: tuple[str, ...]) -> int:
    """Keys and nodes by rate, errors, p95 or waiting; on a terminal until q."""
    poll = _RouterPoll(settings, keys, others)
    if settings.format in ("table", "wide") and console().is_terminal and sys.stdin.isatty():
        return _live(poll, TopView(sort=sort))
    return watched(settings, lambda: _once(settings, poll, sort))


class _RouterPoll:
    """Asks the routers, all at once."""

    def __init__(self, settings: CtlSettings, keys: tuple[str, ...], others: tuple[str, ...]) -> None:
        self.settings = settings
        self._keys = keys
        self._routers = [Api(replace(settings, router_url=url), "router") for url in (settings.router, *others)]
        self._pool = ThreadPoolExecutor(len(self._routers) + 1)
        #: Keys of the command line that no router had at the last look.
        self.missing: list[str] = []

    def look(self) -> TopNumbers:
        """The numbers of now; :class:`Unreachable` where no router answers."""
        names = self._pool.submit(containers, self.settings)
        futures = [self._pool.submit(api.get, "/v1/status") for api in self._routers]
        statuses, troubles = [], []
        for future in futures:
            try:
                statuses.append(future.result())
            except CtlError as error:
                troubles.append(str(error))
        if not statuses:
            raise Unreachable(_why(self.settings, troubles))
        missing = [set(select_keys(status, self._keys)) for status in statuses]
        self.missing = sorted(set.intersection(*missing))
        return TopNumbers(added_up(statuses), names.result(), len(statuses), troubles)

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _why(settings: CtlSettings, troubles: list[str]) -> str:
    try:
        if is_nginx_mode(settings):
            return "in nginx mode there is no router that counts requests: status shows what nginx serves"
    except CtlError:
        pass
    return "; ".join(troubles)


# Printed once.


def _once(settings: CtlSettings, poll: _RouterPoll, sort: str) -> int:
    numbers = poll.look()
    keys = arranged(numbers.keys, sort)
    result = {"schema": SCHEMA, "routers": numbers.routers, "troubles": numbers.troubles, **totals(keys), "keys": keys}
    show(settings, result, lambda _: _tables(keys, numbers), (key["key"] for key in keys))
    for trouble in numbers.troubles:
        remark(settings, trouble)
    if poll.missing:
        remark(settings, f"no such key: {', '.join(poll.missing)}")
    return FAILED if poll.missing or numbers.troubles else DONE


def _tables(keys: list[dict[str, Any]], numbers: TopNumbers) -> Iterator[RenderableType]:
    if not keys:
        yield Text("no keys")
        return
    yield table(_COLUMNS, (_cells(row, numbers) for key in keys for row in (key, *key["nodes"])))


def _cells(row: dict[str, Any], numbers: TopNumbers) -> tuple[object, ...]:
    is_key = "nodes" in row
    return (
        shown_key(row["key"]) if is_key else f"  {row['address']}", number(row["rate"]), errors(row),
        milliseconds(row["p50_ms"]), milliseconds(row["p95_ms"]), running(row), row["waiting"] if is_key else "",
        state(state_text(row)), "" if is_key else container_name(row, numbers.names),
    )  # fmt: skip


# Redrawn on a terminal.


class _Refresher:
    """Asks again and again in a thread of its own; the descriptor ``ready`` is readable once there is something new."""

    def __init__(self, poll: _RouterPoll) -> None:
        self.latest = TopNumbers(troubles=["asking ..."])
        self.ready, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._poll, self._over = poll, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.latest = self._poll.look()
            except CtlError as error:
                # The last numbers stay, but nobody should take them for those of now.
                self.latest = replace(self.latest, routers=0, troubles=[str(error)])
            except RuntimeError:
                # The pool of threads was shut down: top ends.
                return
            self.wake()
            self._over.wait(LOOK_INTERVAL)

    def wake(self, *_: object) -> None:
        """Have the screen drawn again."""
        with suppress(BlockingIOError):
            os.write(self._write, b"x")

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._poll.close()


def _live(poll: _RouterPoll, view: TopView) -> int:
    refresher = _Refresher(poll)
    colour = not console().no_color
    numbers, clock = refresher.latest, ""
    before = signal.signal(signal.SIGWINCH, refresher.wake)
    try:
        with _single_keys(sys.stdin.fileno()), second_screen() as draw:
            while not view.over:
                if not view.frozen:
                    numbers, clock = refresher.latest, time.strftime("%H:%M:%S")
                size = shutil.get_terminal_size()
                draw("\n".join(view.frame(numbers, size.columns, size.lines - 1, clock, colour)) + "\n")
                readable, _, _ = select.select([sys.stdin.fileno(), refresher.ready], [], [])
                if refresher.ready in readable:
                    os.read(refresher.ready, 1000)
                if sys.stdin.fileno() in readable:
                    data = os.read(sys.stdin.fileno(), 1000)
                    if not data:
                        break
                    for key in pressed(data.decode("utf-8", "replace")):
                        view.press(key)
    finally:
        signal.signal(signal.SIGWINCH, before)
        refresher.end()
    return DONE


@contextmanager
def _single_keys(fd: int) -> Iterator[None]:
    """The terminal hands on each key as it is pressed, and does not show it."""
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
