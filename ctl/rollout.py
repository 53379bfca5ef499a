"""``rollout SERVICE [KEY]``: a new version of a compose service, without a request lost, and back if it is bad."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from fastroute.ctl.completion import complete_keys
from fastroute.ctl.deploy.compose import ComposeService
from fastroute.ctl.deploy.observed import RolloutOptions
from fastroute.ctl.deploy.runner import Report
from fastroute.ctl.deploy.service_rollout import ServiceRollout
from fastroute.ctl.errors import DONE, FAILED, TIMED_OUT
from fastroute.ctl.key_states import Duration
from fastroute.ctl.settings import CtlSettings, global_options_but
from fastroute.ctl.show import remark, show
from fastroute.ctl.terminal import safe
from fastroute.router.protocol.entry import MAX_SESSIONS

_CODES = {"done": DONE, "planned": DONE, "back": FAILED, "timed-out": TIMED_OUT}
_TEXTS = {"done": "rolled out", "planned": "nothing was changed", "back": "went back", "timed-out": "not ready in time"}
#: Seconds that a new version may be watched or waited for, at most.
_MAX_DURATION = 24 * 3600.0


@click.command("rollout")
@click.argument("service")
@click.argument("key", required=False, shell_complete=complete_keys)
@click.option("--file", "-f", "files", multiple=True, metavar="FILE", help="Compose file, as docker compose has it.")
@click.option("--project-name", "-p", "project", metavar="PROJECT", help="Compose project, as docker compose has it.")
@click.option("--build", is_flag=True, help="Build the image first.")
@click.option("--pull", is_flag=True, help="Pull the image first.")
@click.option(
    "--switch/--one-by-one",
    "switch",
    default=True,
    show_default="--switch",
    help="All at once: after the switch no request goes to an old one; or container by container.",
)
@click.option(
    "--canary",
    type=click.FloatRange(0.1, 99.9),
    metavar="PCT",
    help="First so much of the requests, for the time of --bake.",
)
@click.option(
    "--bake",
    type=Duration(_MAX_DURATION, zero=True),
    default="0",
    show_default=True,
    metavar="S",
    help="Watch the new ones so long (60, 60s, 5m).",
)
@click.option(
    "--max-errors",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="PCT",
    help="Go back if the share of 5xx and time-outs is so much above the old ones'.",
)
@click.option(
    "--timeout",
    type=Duration(_MAX_DURATION),
    default="60",
    show_default=True,
    metavar="S",
    help="Until the new ones are ready.",
)
@click.option(
    "--sessions",
    type=Duration(MAX_SESSIONS, zero=True),
    default="5",
    show_default=True,
    metavar="S",
    help="Clients that stay with an old one (sticky) may go on there so long after the switch.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@global_options_but("timeout")
@click.pass_obj
def command(
    settings: CtlSettings, /, service: str, key: str | None, files: tuple[str, ...], project: str | None, **flags: Any
) -> int:
    """Roll out a new version of SERVICE beside docker compose: start as many new containers as there are old ones, wait
    until they are ready, switch, watch, drain and remove the old ones.  KEY: only its answers are compared.

    Exit codes: 0 done; 1 went back, all as before; 6 not ready in time, all as before."""
    if flags["canary"] is not None and not flags["bake"]:
        remark(settings, "--canary without --bake is over at once: the new ones get all requests when they are ready")
        flags["canary"] = None
    options = RolloutOptions(
        not flags["switch"], flags["canary"], flags["bake"], flags["max_errors"], flags["timeout"],
        sessions=flags["sessions"],
    )  # fmt: skip
    named = [word for file in files for word in ("-f", file)] + (["-p", project] if project else [])
    compose = ComposeService(named, service)
    if compose.problem:
        raise click.UsageError(f"service {service} can't be rolled out: {compose.problem}")
    report = Report(lambda text: click.echo(safe(text), err=True))
    rollout = ServiceRollout(settings, compose, report, options, key)
    try:
        if flags["dry_run"]:
            outcome = rollout.preview()
        else:
            outcome = rollout.run(build=flags["build"], pull=flags["pull"])
    except KeyboardInterrupt:
        click.echo(
            "fastroute-ctl: interrupted; run it again: it goes on with what was begun, or takes it back", err=True
        )
        raise
    result = {
        "schema": "fastroute.rollout/v1",
        "project": compose.project,
        "service": service,
        "result": outcome.result,
        "reason": outcome.reason,
        "seconds": round(report.seconds, 3),
        **rollout.facts,
        "steps": report.steps,
        "routers_missing": report.routers,
    }
    text = f"{service}: {_TEXTS[outcome.result]} after {report.seconds:.1f} s: {outcome.reason}"
    show(settings, result, lambda _: [Text(text)], rollout.names)
    return _CODES[outcome.result]
