"""``fastroute-ctl``: the verbs, and how every error becomes one line and an exit code.

Verbs are imported when they are called (a health check every few seconds must not import all of them).
Exit codes: 0 done, 1 failed, 2 usage, 3 cannot reach, 4 degraded, 5 down, 6 timed out.
"""

from __future__ import annotations

import importlib
import os
import sys
from difflib import get_close_matches
from typing import TextIO

import click

import fastroute
from fastroute.ctl.errors import FAILED, USAGE, CtlError
from fastroute.ctl.settings import global_options
from fastroute.ctl.terminal import safe_streams

NAME = "fastroute-ctl"
#: How a shell asks for completions (click's convention).
COMPLETE = "_FASTROUTE_CTL_COMPLETE"
#: Verb -> what ``--help`` says of it.  Its command is ``fastroute.ctl.VERB:command``, but for ``MODULES``.
VERBS = {
    "status": "Keys and their nodes, and the controller's state.",
    "ps": "Every labelled container, routed or not, and why.",
    "top": "Keys and nodes by rate, errors, p95 or waiting; redrawn on a terminal.",
    "describe": "All about one key or container.",
    "certs": "Hosts and their certificates: state, expiry, issuer, and why.",
    "events": "What Docker said, what was decided, and what came of it; -f follows.",
    "drain": "Send no new requests to a container, node or key; --wait: until none runs there.",
    "undrain": "Undo a drain, or a weight of 0.",
    "weight": "Give a container, node or key another share of the requests.",
    "pause": "Let the requests of a key wait until resume, or until the time is over.",
    "maintenance": "Answer the requests of a key with 503 and a message, until resume.",
    "resume": "End a pause or maintenance of a key.",
    "rollout": "A new version of a compose service without a lost request; back by itself if it is bad.",
    "subscribe": "Add a node to a key, as operator.",
    "unsubscribe": "Take back a node that an operator added.",
    "announce": "Run a command and announce it to routers while it accepts connections.",
    "wait": "Until a key has so many ready nodes: for deploy scripts.",
    "check": "Look for mistakes in a configuration file, or in the labels of a compose file.",
    "config": "show --origin: every option of a program, its value and where that comes from.",
    "render": "What would be written for nginx now; --mode router: an nginx.conf in front of routers.",
    "resync": "Let the controller compare everything with Docker now.",
    "healthcheck": "Exit 0 if the program of this machine or container can do its job, else 1.",
    "version": "The versions of this program and of the router.",
    "completion": "Completion script for bash, zsh or fish.",
}


#: ``fastroute.ctl.announce`` is the function for applications.
MODULES = {"announce": "announcing"}
#: Verbs for programs, which no list shows.
HIDDEN = ("bridge",)


class _Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of ``VERBS``: the common ones first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; None when there is no such verb."""
        if cmd_name not in VERBS and cmd_name not in HIDDEN:
            return None
        command = importlib.import_module(f"fastroute.ctl.{MODULES.get(cmd_name, cmd_name)}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs without importing any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was meant."""
        if args and args[0] not in (*VERBS, *HIDDEN) and not args[0].startswith("-"):
            near = get_close_matches(args[0], VERBS, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(VERBS)} expected"
            raise click.UsageError(f"no verb {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(NAME, cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
             subcommand_metavar="VERB [ARGS]...",
             epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 cannot reach, 4 degraded and 5 down (status --check),"
                    " 6 timed out.")  # fmt: skip
@click.version_option(fastroute.__version__, "--version", "-V", message="%(prog)s %(version)s")
@global_options
def cli() -> None:
    """Shows and changes what fastroute's router and controller do."""


def main(arguments: list[str] | None = None) -> None:
    """Run, and exit with a code of docs/reference/ctl.md."""
    with safe_streams():
        sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    if not arguments and COMPLETE not in os.environ:
        arguments = ["--help"]
    out = sys.stdout
    try:
        code = cli.main(arguments, prog_name=NAME, complete_var=COMPLETE, standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx else NAME
        return _fail(f"{_one_line(error)} (see {verb} --help)", USAGE)
    except click.ClickException as error:
        return _fail(_one_line(error), FAILED)
    except CtlError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        return _read_enough(out)
    except SystemExit:
        # Click meets a broken pipe itself, replaces the stream and would end with 1.
        if sys.stdout is out:
            raise
        return _read_enough(out)
    return code if isinstance(code, int) else 0


def _read_enough(out: TextIO) -> int:
    """Whoever read ``out`` has seen enough.  Python would complain once more while it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return 0


def _one_line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split())


def _fail(text: str, code: int) -> int:
    print(f"{NAME}: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
