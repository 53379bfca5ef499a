"""``render``: the files of nginx mode as they would be written now, or a complete nginx.conf in front of routers.

Nothing is touched.  Without ``--mode router`` the controller is asked, which alone knows what is desired.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.nginx_config import GENERATION
from fastroute.controller.nginx_mode.rendering import TemplateProblem
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.user_templates import UserTemplatesProblem, read_user_templates
from fastroute.controller.options import certificates as certificates_folder
from fastroute.controller.options import listening
from fastroute.controller.options import nginx_version as version_of
from fastroute.ctl.api import Api
from fastroute.ctl.errors import DONE, CtlError
from fastroute.ctl.settings import CtlSettings, global_options_but
from fastroute.ctl.terminal import write_own
from fastroute.router.config.option_types import network, node_address
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.key import parse_key


@click.command("render")
@click.option("--diff", is_flag=True, help="Only how it differs from what nginx uses; nothing if it does not.")
@click.option("-o", "--output", "directory", type=click.Path(file_okay=False), metavar="DIR",
              help="Write the files into DIR, which must be empty or new, instead of printing them.")  # fmt: skip
@click.option("--mode", type=click.Choice(["nginx", "router"]), default="nginx", show_default=True,
              help="router: a complete nginx.conf in front of routers.")  # fmt: skip
@click.option("--router", "routers", multiple=True, metavar="ADDR", default=("127.0.0.1:3031",), show_default=True,
              help="Mode router: front socket of a router, host:port or a path (repeatable).")  # fmt: skip
@click.option("--front", type=click.Choice(["uwsgi", "http"]), default="uwsgi", show_default=True,
              help="Mode router: what the routers' sockets speak: uwsgi (--listen), or HTTP on kept connections"
              " (--listen-http).")  # fmt: skip
@click.option("--listen", multiple=True, metavar="ADDR", default=("80",), show_default=True,
              help="Mode router: where nginx listens, PORT or IP:PORT (repeatable).")  # fmt: skip
@click.option("--trusted-proxy", "proxies", multiple=True, metavar="CIDR",
              help="Mode router: a proxy in front, whose X-Forwarded-* headers count (repeatable).")  # fmt: skip
@click.option("--listen-tls", multiple=True, metavar="ADDR",
              help="Mode router: where nginx listens for HTTPS, PORT or IP:PORT (repeatable).")  # fmt: skip
@click.option("--certificates", default="/var/lib/fastroute/certificates", metavar="DIR", show_default=True,
              help="Mode router: what fastroute-certs writes, as nginx sees it.")  # fmt: skip
@click.option("--https-port", type=click.IntRange(1, 65_535), default=443, metavar="PORT", show_default=True,
              help="Mode router: the port of HTTPS as clients see it, for redirects.")  # fmt: skip
@click.option("--wildcard", "wildcards", multiple=True, metavar="DOMAIN",
              help="Mode router: a domain with a wildcard's certificate (repeatable).")  # fmt: skip
@click.option("--nginx-version", metavar="VERSION", default="1.26", show_default=True,
              help="Mode router: of the nginx that reads the file.")  # fmt: skip
@click.option("--container", is_flag=True,
              help="Mode router: for an unprivileged container: logs go to its output.")  # fmt: skip
@click.option("--template-dir", type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="Mode router: your templates, in place of ours.")  # fmt: skip
@global_options_but("output")
@click.pass_obj
def command(
    settings: CtlSettings,
    /,
    diff: bool,
    directory: str | None,
    mode: str,
    routers: tuple[str, ...],
    front: str,
    listen: tuple[str, ...],
    proxies: tuple[str, ...],
    container: bool,
    template_dir: str | None,
    **tls: Any,
) -> int:
    """Print what would be written for nginx now, without touching anything."""
    if mode == "router":
        text = front_of(routers, front, listen, proxies, container, template_dir, **tls)
        return _put(directory, {"nginx.conf": text}) if directory else _print(text)
    preview = Api(settings, "controller").get("/v1/nginx")
    files: dict[str, str] = preview["files"]
    for problem in preview["problems"]:
        click.echo(f"fastroute-ctl: {problem}", err=True)
    if diff:
        return _print("".join(differences(preview["current"], files)))
    target = str(Path(directory).absolute()) if directory else f"{preview['directory']}/generations/{preview['hash']}"
    files = {name: text.replace(GENERATION, target) for name, text in files.items()}
    if directory:
        return _put(directory, files)
    return _print("".join(f"# ==== {name}\n{text}\n" for name, text in files.items()))


def front_of(
    routers: tuple[str, ...],
    front: str,
    listen: tuple[str, ...],
    proxies: tuple[str, ...],
    container: bool,
    template_dir: str | None,
    **tls: Any,
) -> str:
    """The text of an ``nginx.conf`` in front of ``routers``; ``tls``: the options that are about HTTPS."""
    try:
        spoken = [] if front == "uwsgi" else [f"--front {front}"]
        command = ["fastroute-ctl render --mode router", *spoken, *(f"--router {router}" for router in routers)]
        options = MainFileOptions(
            tuple(str(node_address(str(parse_address(router)))) for router in routers),
            front,
            tuple(map(listening, listen)),
            tuple(map(network, proxies)),
            container=container,
            tls=tls_options(**tls) if tls.get("listen_tls") else None,
            command=" ".join(command),
        )
        return main_file(options, read_user_templates(template_dir))
    except (UserTemplatesProblem, TemplateProblem) as problem:
        raise CtlError(str(problem)) from None
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None


def tls_options(
    listen_tls: tuple[str, ...], certificates: str, https_port: int, wildcards: tuple[str, ...], nginx_version: str
) -> TlsOptions:
    """HTTPS as the options have it; ``ValueError`` says what is wrong with one."""
    return TlsOptions(
        tuple(map(listening, listen_tls)),
        certificates_folder(certificates),
        https_port,
        version_of(nginx_version),
        tuple(domain_of(text) for text in wildcards),
    )


def domain_of(text: str) -> str:
    """The domain of a wildcard, which may be written as one."""
    key = parse_key(text if text.startswith("*.") else f"*.{text}")
    if "/" in key or ":" in key:
        raise ValueError(f"{text[:80]!r}: a domain expected (like example.com)")
    return key.removeprefix("*.")


def differences(current: Mapping[str, str], files: Mapping[str, str]) -> Iterator[str]:
    """The unified differences by file; what differs by its generation's name only is the same."""
    for name in sorted(current.keys() | files.keys()):
        before, after = _lines(current.get(name, "")), _lines(files.get(name, ""))
        yield from difflib.unified_diff(before, after, f"current/{name}", f"new/{name}")


def _lines(text: str) -> list[str]:
    # The hash of the whole stands in one line of one file.
    return [line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(' $pid\\n";')]


def _put(directory: str, files: Mapping[str, str]) -> int:
    top = Path(directory)
    try:
        if top.exists() and any(top.iterdir()):
            raise CtlError(f"{directory} is not empty: an empty or new directory expected")
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise CtlError(f"{error.filename or directory}: {error.strerror}") from None
    return DONE


def _print(text: str) -> int:
    """Print to the byte where a file or a program reads it; a terminal gets nothing that it would obey."""
    if sys.stdout.isatty():
        sys.stdout.write(text)
    else:
        write_own(text)
    return DONE
