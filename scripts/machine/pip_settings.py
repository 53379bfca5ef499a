"""Print a pip.conf for a container with this machine's pip settings: pip's files and the PIP_* variables.

Only what makes sense elsewhere is kept: which index, which proxy, how patient.  Folders of this machine (file:// and
paths) do not exist in a container and are left out; certificates are in the image's own bundle.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
#: Of these, the values that name this machine's own folders are left out.
PLACES = ("index-url", "extra-index-url")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def files(environ: Mapping[str, str]) -> list[Path]:
    """The configuration files that pip would read, the strongest last."""
    home = Path(environ.get("HOME", "/root"))
    names = [Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    names.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf")
    if environ.get("PIP_CONFIG_FILE"):
        names.append(Path(environ["PIP_CONFIG_FILE"]))
    return names


def settings(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, list[str]]:
    """name -> values, from the texts of pip's files and the PIP_* variables, the strongest last."""
    found: dict[str, list[str]] = {}
    for text in texts:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({_plain(name): value.split() for name, value in parser.items(section)})
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        if environ.get(name):
            found.setdefault("proxy", [environ[name]])
    found.update({_plain(name[4:]): value.split() for name, value in environ.items() if name.startswith("PIP_")})
    return found


def _plain(name: str) -> str:
    """pip's spellings of one option: ``default-timeout`` is ``timeout``."""
    name = name.lower().replace("_", "-")
    return "timeout" if name == "default-timeout" else name


def portable(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Those of the settings that mean the same in a container."""
    kept = {}
    for name in KEPT:
        values = found.get(name, [])
        if name in PLACES:
            values = [value for value in values if value.startswith(("http://", "https://"))]
        if values:
            kept[name] = values
    return kept


def render(kept: Mapping[str, list[str]]) -> str:
    """The settings as a pip.conf."""
    lines = ["[global]", f"cert = {BUNDLE}", "disable-pip-version-check = true"]
    lines += [f"{name} = {' '.join(values)}" for name, values in kept.items()]
    return "\n".join(lines) + "\n"


def of_this_machine() -> dict[str, list[str]]:
    """This machine's settings."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files(os.environ) if path.is_file()]
    return settings(texts, os.environ)


if __name__ == "__main__":
    sys.stdout.write(render(portable(of_this_machine())))
