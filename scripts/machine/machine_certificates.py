"""Copy the certificate authorities that this machine trusts beyond Debian's own into a folder, one file each.

A machine behind an inspecting proxy trusts its proxy's authority; a build in a container of ours must, too.  Read are
/usr/local/share/ca-certificates and the bundles that the usual variables and pip's `cert` setting name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pip_settings

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s(.+?)-----END CERTIFICATE-----", re.DOTALL)
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
DEBIANS_OWN = Path("/usr/share/ca-certificates")
LOCAL = Path("/usr/local/share/ca-certificates")
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def certificates(text: str) -> Iterator[str]:
    """The base64 body of each certificate in ``text``, without blanks: equal certificates, equal text."""
    for body in CERTIFICATE.findall(text):
        yield "".join(body.split())


def bundles() -> Iterator[Path]:
    """Every file on this machine that may hold an authority of its own."""
    yield from sorted(LOCAL.rglob("*.crt"))
    yield SYSTEM_BUNDLE
    yield from (Path(os.environ[name]) for name in BUNDLE_VARIABLES if os.environ.get(name))
    yield from (Path(name) for name in pip_settings.of_this_machine().get("cert", []))


def extra(own: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """Those of ``own`` that are not in ``known``, each once."""
    seen: set[str] = set(known)
    for body in own:
        if body not in seen:
            seen.add(body)
            yield body


def read(path: Path) -> str:
    """The file's text; nothing when it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def pem(body: str) -> str:
    """The certificate as a PEM file."""
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    debians = [body for path in DEBIANS_OWN.rglob("*.crt") for body in certificates(read(path))]
    machines = [body for path in bundles() for body in certificates(read(path))]
    for number, certificate in enumerate(extra(machines, debians)):
        (folder / f"machine-{number}.crt").write_text(pem(certificate), encoding="ascii")
