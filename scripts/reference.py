#!/usr/bin/env python3
"""Write the tables of docs/reference/ that stand in the code: .venv/bin/python scripts/reference.py [--check]

A table stands in a page between two comments, ``<!-- table NAME: ... -->`` and ``<!-- end of table -->``; everything
around it is written by hand.  ``--check`` changes nothing and exits with 1 when a page is not what the code says.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from fastroute.certs import options as certs_options
from fastroute.controller import options as controller_options
from fastroute.controller.decide.labels import LABELS
from fastroute.ctl import main as ctl
from fastroute.ctl import settings as ctl_settings
from fastroute.page import options as page_options
from fastroute.router.config import options as router_options
from fastroute.router.config.command_line import show
from fastroute.router.config.configuration import Option, Program
from fastroute.router.sidecar import options as announce_options

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference"
_TABLE = re.compile(r"(<!-- table ([a-z-]+):[^\n]*-->\n).*?(<!-- end of table -->)", re.DOTALL)


def options_table(program: Program) -> str:
    """The options of ``program`` that have a flag."""
    rows = []
    for option in program.public().values():
        usage = f"{option.flag} {option.metavar}" if option.metavar else f"{option.flag}, --no-{option.name}"
        repeatable = "; repeatable" if option.repeatable else ""
        rows.append((code(usage), _default(program, option), option.help + repeatable))
    return table(("option", "default", "meaning"), rows)


def _default(program: Program, option: Option) -> str:
    default = program.default(option)
    if option.default_text:
        return option.default_text
    return code(show(default)) if default not in (None, (), "") else "none"


def verbs_table() -> str:
    """The verbs of fastroute-ctl and what each does."""
    return table(("verb", "does"), ((code(verb), text.rstrip(".")) for verb, text in ctl.VERBS.items()))


def verbs_options_table() -> str:
    """The options of single verbs, without the global ones."""
    rows = []
    for name in ctl.VERBS:
        for path, command in _commands(name):
            for parameter in command.params:
                if isinstance(parameter, click.Option) and parameter.expose_value:
                    rows.append((code(path), code(_usage(parameter)), _sentence(parameter)))
    return table(("verb", "option", "meaning"), rows)


def _commands(name: str) -> list[tuple[str, click.Command]]:
    command = ctl.cli.get_command(click.Context(ctl.cli), name)
    assert command is not None
    if isinstance(command, click.Group):
        return [(f"{name} {below}", found) for below, found in command.commands.items()]
    return [(name, command)]


def global_options_table() -> str:
    """The options that every verb takes."""
    probe = click.Command("probe")
    ctl_settings.global_options(probe)
    rows = [(code(_usage(option)), _sentence(option)) for option in probe.params if isinstance(option, click.Option)]
    return table(("option", "meaning"), rows)


def _usage(option: click.Option) -> str:
    names = ", ".join(sorted(option.opts, key=len, reverse=True))
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {'|'.join(map(str, option.type.choices))}"
    return f"{names} {option.metavar or 'N'}"


def _sentence(option: click.Option) -> str:
    text = (option.help or "").strip().rstrip(".")
    default = option.default
    if default is None or option.is_flag or "default" in text or not isinstance(default, str | int | float):
        return text
    return f"{text}{' ' if text else ''}(default: {show(default)})"


def code(text: str) -> str:
    """``text`` as it is typed."""
    return f"`{text}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def labels_table() -> str:
    """The labels of a container."""
    return table(("label", "default", "meaning"), ((code(f"fastroute.{row.name}"), row.default, row.meaning)
                                                   for row in LABELS.values()))  # fmt: skip


TABLES: dict[str, Callable[[], str]] = {
    "labels": labels_table,
    "router-options": lambda: options_table(router_options.PROGRAM),
    "controller-options": lambda: options_table(controller_options.PROGRAM),
    "certs-options": lambda: options_table(certs_options.PROGRAM),
    "page-options": lambda: options_table(page_options.PROGRAM),
    "announce-options": lambda: options_table(announce_options.PROGRAM),
    "ctl-verbs": verbs_table,
    "ctl-options": global_options_table,
    "ctl-verbs-options": verbs_options_table,
}


def rewritten(text: str) -> str:
    """The page ``text`` with its tables as the code has them now."""
    return _TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main() -> int:
    """Write the pages, or check them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/reference/ that stand in the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is not up to date")
    check = parser.parse_args().check
    old = False
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text()
        if (new := rewritten(text)) == text:
            continue
        old = True
        if check:
            sys.stderr.write(f"{page}: a table is not what the code says; run scripts/reference.py\n")
        else:
            page.write_text(new)
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
