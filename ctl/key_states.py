"""Sends pauses, maintenance and their end to the controller, which tells all its routers; without one, to the router.

The controller holds any key, known or not; one that can't (an older version, or none there) leaves it to the router.
What was asked of a router itself stands over its controllers, so ``resume`` looks there too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from fastroute.ctl.api import Api, post_to_either
from fastroute.ctl.datagram import read_key
from fastroute.ctl.errors import DONE, FAILED, Unreachable
from fastroute.ctl.keys import key_row
from fastroute.ctl.settings import CtlSettings
from fastroute.ctl.show import left, remark, show, state, table
from fastroute.router.config.option_types import duration
from fastroute.router.protocol.key import shown_key
from fastroute.router.protocol.key_state import SERVING, StateProblem

#: What either program answers: key, state, until, message, allow; the controller also its routers.
Answer = dict[str, Any]


class Duration(click.ParamType[float]):
    """Seconds, above 0 (or ``zero`` as well) and at most ``limit``."""

    name = "S"

    def __init__(self, limit: float, *, zero: bool = False) -> None:
        self._limit, self._zero = limit, zero

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """What ``30``, ``30s`` or ``5m`` means."""
        if self._zero and str(value) in ("0", "0s", "0.0"):
            return 0.0
        try:
            seconds = duration(str(value))
        except ValueError as problem:
            self.fail(str(problem), parameter, context)
        if seconds > self._limit:
            self.fail(f"{value}: at most {self._limit:.0f} s expected", parameter, context)
        return seconds


def checked(read: Callable[[object], Any], value: object) -> Any:
    """What ``read`` makes of ``value``; a mistake there is one of usage."""
    try:
        return read(value)
    except StateProblem as problem:
        raise click.UsageError(str(problem)) from None


def ask(settings: CtlSettings, verb: str, key: str, **more: object) -> Answer:
    """Send ``verb`` for ``key``; what the program answers that does it.  What can be no key is a mistake of usage."""
    read_key(key)
    body = {"key": key, **{name: value for name, value in more.items() if value}}
    if verb == "resume":
        nobody = f"no key is called {key!r}, and none of that name is paused or in maintenance"
    else:
        nobody = f"neither controller nor router knows the verb {verb}: are they of an older version?"
    program, answer = post_to_either(settings, f"/v1/{verb}", body, nobody)
    return _ask_router_too(settings, answer) if program == "controller" and verb == "resume" else answer


def _ask_router_too(settings: CtlSettings, answer: Answer) -> Answer:
    """The controller holds the key no longer; whoever asked the router itself may."""
    try:
        row = key_row(settings, answer["key"])
        if row is None or row.get("state", SERVING) == SERVING:
            return answer
        return {**answer, **Api(settings, "router").post("/v1/resume", {"key": answer["key"]})}
    except Unreachable:
        return answer


def report(settings: CtlSettings, done: str, answer: Answer) -> int:
    """Show what was done, and which routers don't know of it yet; exit code 1 when none does."""
    show(settings, {"schema": "fastroute.change/v1", "change": done, **answer},
         lambda _: [table(("KEY", "STATE", "LEFT", "MESSAGE"), [_row(answer)])], [answer["key"]])  # fmt: skip
    routers = answer.get("routers", ())
    missing = [router for router in routers if router["problem"]]
    for router in missing:
        remark(settings, f"router {router['router']} has not taken it over: {router['problem']}")
    return FAILED if missing and len(missing) == len(routers) else DONE


def _row(answer: Answer) -> tuple[object, ...]:
    return shown_key(answer["key"]), state(answer["state"]), left(answer["until"]) or "-", answer["message"] or "-"
