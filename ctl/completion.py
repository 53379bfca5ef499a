"""``completion SHELL``: the script that makes a shell complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fastroute.ctl.settings import global_options


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
