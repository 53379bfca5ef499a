"""``wait`` and ``max`` of a compose file against what stands around them: nginx's time-outs, the workers' own limits.

Pure; files come by ``load``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fastroute.ctl.compose_service import Service
from fastroute.ctl.concurrency import concurrency
from fastroute.ctl.problem import Problem
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import decode
from fastroute.router.config.option_types import duration_or_zero
from fastroute.router.protocol.node_options import setting, text_of

#: Seconds that nginx waits for an answer unless it is told otherwise; load balancers and clients often wait as long.
NGINX_READ_TIMEOUT = 60.0
_READ_TIMEOUT = re.compile(r"^[^#\n]*?\b(?:uwsgi|proxy)_read_timeout\s+([\w.]+)\s*;", re.MULTILINE)
_PASSES = re.compile(r"^[^#\n]*?\b(?:uwsgi|proxy)_pass\s", re.MULTILINE)


class FrontTimeout(NamedTuple):
    """How long who stands in front waits for an answer."""

    seconds: float
    #: Who says so, for people.
    of: str


#: Where nobody says more.
USUAL = FrontTimeout(
    NGINX_READ_TIMEOUT, "nginx and many load balancers give up after 60 s unless they are told otherwise"
)


def front_timeout(services: Sequence[Service], load: Callable[[str], bytes]) -> FrontTimeout:
    """The shortest one in the files of nginx that ``services`` have, else what is usual."""
    timeouts = [timeout for service in services for file in service.nginx_files for timeout in _timeouts(file, load)]
    return min(timeouts, default=USUAL)


def _timeouts(file: str, load: Callable[[str], bytes]) -> Iterator[FrontTimeout]:
    try:
        text = decode(load(file), file)
    except ConfigurationError:
        return
    given = _READ_TIMEOUT.findall(text)
    for written in given:
        try:
            yield FrontTimeout(duration_or_zero(written), f"nginx gives up after {written} ({file})")
        except ValueError:
            continue
    if not given and _PASSES.search(text):
        yield FrontTimeout(NGINX_READ_TIMEOUT, f"nginx gives up after 60 s ({file} has no read_timeout)")


def waits_too_long(wait: float, timeout: FrontTimeout) -> str:
    """What is wrong with ``wait`` under ``timeout``; empty: nothing."""
    if wait < timeout.seconds:
        return ""
    return f"wait {text_of(wait)} s: {timeout.of}, so the client gets an error before the wait is over"


def of_wait(service: Service, waits: Sequence[tuple[float, str]], timeout: FrontTimeout) -> Iterator[Problem]:
    """What is wrong with the ``waits`` of a service's routes (with their places), and with that of a router."""
    given = list(waits)
    if "FASTROUTE_WAIT" in service.environment:
        text, at = service.environment["FASTROUTE_WAIT"]
        try:
            given.append((setting("wait").read(text), at))
        except ValueError as error:
            yield Problem("error", at, f"service {service.name}: FASTROUTE_WAIT: {error}")
    for wait, at in dict.fromkeys(given):
        if text := waits_too_long(wait, timeout):
            yield Problem("warning", at, f"service {service.name}: {text}")


def of_max(service: Service, limits: Sequence[tuple[int, str]]) -> Iterator[Problem]:
    """What is wrong with the ``limits`` of a service's routes (with their places), which runs so much at once."""
    environ = {name: value for name, (value, _) in service.environment.items()}
    worker = concurrency(service.words[0], environ)
    if worker is None:
        return
    for limit, at in dict.fromkeys(limits):
        name = f"service {service.name}: max {limit}"
        if limit < worker.at_least:
            text = f"{name}: its workers could run {worker.at_least} requests at once ({worker.options}): some idle"
            yield Problem("warning", at, f"{text} while requests wait in the router")
        elif worker.refuses_above is not None and limit >= worker.refuses_above:
            text = f"{name}: uvicorn answers 503 itself to connections above {worker.refuses_above}"
            yield Problem("warning", at, f"{text} ({worker.options}), idle ones among them: give it some more")
        elif worker.at_most is not None and limit > worker.at_most:
            text = f"{name}: only {worker.at_most} requests run at once ({worker.options}): the others wait in the"
            yield Problem("warning", at, f"{text} worker, where nobody sees them, while another container may be free")
