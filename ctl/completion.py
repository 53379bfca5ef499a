"""``completion SHELL``: the script that makes a shell complete verbs, options, and what there is: keys and containers.

Whoever presses tab waits, so router and controller get a moment to answer, and silence completes nothing.
"""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from fastroute.ctl.api import Api, Program
from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import CtlSettings, global_options

#: Seconds that completion waits for an answer: a user waits for it at the keyboard.
_COMPLETION_TIMEOUT = 1.0
#: No comma, at which click's scripts cut; no dash or ``~`` in front; ``*`` and brackets stay as they are unless a file
#: has such a name.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_*\[/@.][A-Za-z0-9_*\[\]/@.:~%+=-]*")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the completion script, as in: eval "$(fastroute-ctl completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    print(kind(root.command, {}, "fastroute-ctl", "_FASTROUTE_CTL_COMPLETE").source())
    return 0


def complete_keys(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys that are known."""
    return _offered(_keys(context), incomplete)


def complete_targets(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Containers, keys, and behind a key and an ``@`` its nodes."""
    keys = _keys(context)
    if "@" in incomplete:
        return _offered([f"{key}@{address}" for key, nodes in keys.items() for address in nodes], incomplete)
    return _offered([*_containers(context), *keys], incomplete)


def _offered(words: dict[str, list[str]] | list[str], incomplete: str) -> list[CompletionItem]:
    """Shells put what is offered on the command line, bash without any quotes, so that Enter would run what is in a
    key of somebody else: a word that a shell or this program would not take as a plain word is not offered."""
    fit = (word for word in dict.fromkeys(words) if word.startswith(incomplete) and _PLAIN_WORD.fullmatch(word))
    return [CompletionItem(word) for word in fit]


def _keys(context: click.Context) -> dict[str, list[str]]:
    """The addresses of the nodes of each key."""
    programs: tuple[Program, Program] = ("router", "controller")
    for program in programs:
        rows = _asked(context, program, "/v1/status").get("keys", ())
        if rows:
            return {row["key"]: [node["address"] for node in row["nodes"]] for row in rows}
    return {}


def _containers(context: click.Context) -> list[str]:
    return [row["name"] for row in _asked(context, "controller", "/v1/containers").get("containers", ())]


def _asked(context: click.Context, program: Program, path: str) -> dict[str, Any]:
    settings = context.ensure_object(CtlSettings)
    settings.timeout = min(settings.seconds, _COMPLETION_TIMEOUT)
    try:
        return Api(settings, program).get(path)
    except (CtlError, click.ClickException):
        return {}
