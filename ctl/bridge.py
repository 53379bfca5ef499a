"""``bridge``: asks the admins of this machine or container what comes on standard input, a line of JSON each.

For ``rollout``, which runs where docker is and reaches the stack's controller by ``docker exec``: no port, no file and
no right is needed that the caller does not have.  Not for people, so no list of verbs has it.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from fastroute.ctl.api import Api
from fastroute.ctl.errors import Answered, CtlError
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import as_json
from fastroute.ctl.terminal import write_own
from fastroute.router.runtime.json_text import read_json

#: Seconds for an answer: a switch in nginx mode takes a reload.
ANSWER_TIMEOUT = 20.0


@click.command("bridge")
@global_options
@click.pass_obj
def command(settings: CtlSettings) -> int:
    """Ask what comes on standard input."""
    settings.timeout = ANSWER_TIMEOUT
    for line in sys.stdin:
        write_own(as_json(_answer(settings, line)) + "\n")
        sys.stdout.flush()
    return 0


def _answer(settings: CtlSettings, line: str) -> dict[str, Any]:
    """``answer``, or ``error`` with ``status`` (that of HTTP; null: nobody answers)."""
    try:
        request = read_json(line)
        api = Api(settings, request["program"])
        body = request.get("body")
        return {"answer": api.get(request["path"]) if body is None else api.post(request["path"], body)}
    except Answered as error:
        return {"error": str(error), "status": error.status}
    except (CtlError, click.ClickException) as error:
        return {"error": str(error), "status": None}
