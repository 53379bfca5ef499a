"""``check FILE``: mistakes in a configuration file of router or controller, a worker's INI, or a compose file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click
import yaml

from fastroute.controller import options as controller_options
from fastroute.controller.files.static import read_static
from fastroute.ctl import compose_file, compose_limits, worker_ini
from fastroute.ctl.errors import DONE, USAGE
from fastroute.ctl.problem import Problem
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import show, table
from fastroute.router.config import options as router_options
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import SECTIONS, decode, document, read_file

_INCLUDES = ("services", "include")


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--label-prefix", default="fastroute", show_default=True, envvar="FASTROUTE_LABEL_PREFIX",
              help="What labels begin with, in a compose file.")  # fmt: skip
@global_options
@click.pass_obj
def command(settings: CtlSettings, files: tuple[str, ...], label_prefix: str) -> int:
    """Look for mistakes before anything is started.

    FILE is a configuration file (YAML or uWSGI INI) of router, controller or workers, the controller's static file, or
    a compose file, whose labels are read as the controller will.  If something is wrong, it exits 2 with FILE:LINE and
    what was expected on standard error; warnings alone exit 0."""
    checked = [(file, *_checked(file, label_prefix)) for file in files]
    problems = [problem for _, file_problems, _ in checked for problem in file_problems]
    body = {
        "schema": "fastroute.check/v1",
        "problems": [{"level": problem.level, "at": problem.at, "text": problem.text} for problem in problems],
    }
    if settings.format in ("table", "wide", "name"):
        for problem in problems:
            click.echo(str(problem), err=True)
        for file, file_problems, description in checked:
            if not any(problem.level == "error" for problem in file_problems):
                print(f"{file}: {description}")
    else:
        show(settings, body, lambda _: [table((), ())], ())
    sys.stdout.flush()
    return USAGE if any(problem.level == "error" for problem in problems) else DONE


def _checked(file: str, prefix: str) -> tuple[list[Problem], str]:
    """The problems of one file, and what it is when it is right."""
    try:
        return _read(file, prefix)
    except ConfigurationError as error:
        at, _, text = str(error).partition(": ")
        return [Problem("error", at, text)], ""


def _read(file: str, prefix: str) -> tuple[list[Problem], str]:
    data = read_file(file)
    if router_options.is_ini(file, data):
        return _ini(file, decode(data, file))
    names = _names(data, file)
    if any(name in names for name in _INCLUDES) and not any(name in names for name in SECTIONS):
        problems, routed = compose_file.ComposeReader(read_file, os.environ, prefix).check(file)
        return problems, f"compose file, {routed} service{'' if routed == 1 else 's'} to route"
    if "nodes" in names and not any(name in names for name in SECTIONS):
        nodes = len(read_static(data, file))
        return [], f"valid (static file, {nodes} node{'' if nodes == 1 else 's'})"
    router_options.parse([file], {})
    controller_options.parse([file], {})
    wait = router_options.resolve_all([file], {})["wait"]
    doubts = [
        Problem("warning", wait.origin.rpartition(": ")[0], text)
        for text in (compose_limits.waits_too_long(wait.value, compose_limits.USUAL),)
        if text
    ]
    sections = [name for name in SECTIONS if name in names]
    return doubts, f"valid ({', '.join(sections) or 'nothing but defaults'})"


def _ini(file: str, text: str) -> tuple[list[Problem], str]:
    def load(name: str) -> str:
        return decode(read_file(name), name)

    problems = worker_ini.advice(text, file, os.environ, load)
    if worker_ini.is_workers(text, file, os.environ, load):
        return problems, "valid (uWSGI workers)"
    router_options.parse([file], dict(os.environ) if "$(" in text else {})
    return problems, "valid (uWSGI INI of a router)"


def _names(data: bytes, file: str) -> Iterable[str]:
    root = document(data, file)
    return [key.value for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
