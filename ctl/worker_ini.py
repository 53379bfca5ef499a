"""A uWSGI INI of a worker: what Docker and a router ask of it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastroute.ctl.problem import Problem
from fastroute.router.config.uwsgi_ini import Line, read_lines
from fastroute.router.protocol.key import KeyProblem, normalise_key, parse_key

_ON = ("", "true", "1", "yes", "on")
_SERVES = ("socket", "uwsgi-socket", "s", "http", "http-socket")
_SUBSCRIBES = ("subscribe2", "subscribe-to", "subscribe")


def is_workers(text: str, file: str, environ: Mapping[str, str], load: Callable[[str], str]) -> bool:
    """Whether it starts workers and no router."""
    names = {line.name for line in read_lines(text, file, environ, load).lines}
    return not any(name.startswith("fastrouter") for name in names) and bool(names & {*_SERVES, *_SUBSCRIBES})


def advice(text: str, file: str, environ: Mapping[str, str], load: Callable[[str], str]) -> list[Problem]:
    """What is wrong, or missing, for a worker behind a router; nothing for a file that starts none."""
    lines = {line.name: line for line in read_lines(text, file, environ, load).lines}
    serving = next((lines[name] for name in (*_SERVES, *_SUBSCRIBES) if name in lines), None)
    if serving is None:
        return []
    problems = []
    ends = "die-on-term" in lines and lines["die-on-term"].value.lower() in _ON
    if not ends and "hook-master-start" not in lines:
        effect = "uWSGI reloads at SIGTERM, so docker stop and systemd would have to kill it"
        problems.append(Problem("warning", serving.at, f"no die-on-term = true: {effect}"))
    if not {"http", "http-socket"}.isdisjoint(lines) and not {"socket", "uwsgi-socket", "s"} & lines.keys():
        text = "speaks HTTP: routers expect uwsgi (socket = ...) unless it is labelled or announced with protocol http"
        problems.append(Problem("warning", serving.at, text))
    problems += [problem for name in _SUBSCRIBES if name in lines for problem in _subscription(lines[name])]
    return problems


def _subscription(line: Line) -> list[Problem]:
    """``server=ADDR,key=HOST,...`` of subscribe2; ``SERVER:KEY`` of the older ones says too little to judge."""
    if line.name != "subscribe2":
        return []
    given = dict(part.partition("=")[::2] for part in line.value.split(","))
    problems = []
    if not given.get("server"):
        problems.append(Problem("error", line.at, "subscribe2: server=ADDR expected"))
    if not given.get("key"):
        problems.append(Problem("error", line.at, "subscribe2: key=HOST expected"))
    else:
        try:
            key = parse_key(given["key"])
        except KeyProblem as problem:
            problems.append(Problem("error", line.at, f"subscribe2: key {problem}"))
        else:
            if key != normalise_key(given["key"]):
                text = (
                    f"subscribe2: key {given['key']!r}: uWSGI announces it as it is written, and requests ask for {key}"
                )
                problems.append(Problem("error", line.at, f"{text}: write that"))
    return problems
