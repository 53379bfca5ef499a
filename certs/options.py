"""The options of ``fastroute-certs``: one row each, and how all sources become settings.

:func:`parse` is what the program calls; it reads FILE (YAML) and looks at the files and directories that are named.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shlex
import shutil
import ssl
from collections.abc import Mapping, Sequence

from fastroute.certs.settings import CertsSettings
from fastroute.router.admin_http.urls import admin_url, check_url
from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.configuration import (
    ConfigurationError,
    Option,
    Program,
    Resolved,
    resolve,
    shown,
)
from fastroute.router.config.sources import read_sources
from fastroute.router.protocol.address import Address, parse_address
from fastroute.router.sidecar.options import router_address

_EMAIL = re.compile(r"[^\s@<>,;:\"\\]{1,64}@[^\s@<>,;:\"\\]{1,255}")
_KID = re.compile(r"[!-~]{1,255}")
_MAX_HMAC_FILE = 4096


def directory_url(text: str) -> str:
    """The URL of a CA's directory."""
    check_url(text, "the URL of an ACME directory")
    return text


def email_address(text: str) -> str:
    """An e-mail address."""
    if not _EMAIL.fullmatch(text) or not text.isascii():
        raise ValueError(f"{shown(text)}: an e-mail address expected (like admin@example.com)")
    return text


def key_identifier(text: str) -> str:
    """What the CA calls the key of an external account binding."""
    if not _KID.fullmatch(text):
        raise ValueError(f"{shown(text)}: the key identifier that the CA gave you expected")
    return text


def hmac_file(text: str) -> str:
    """A path of a file with the key of an external account binding."""
    read_hmac(types.path(text))
    return text


def read_hmac(path: str) -> str:
    """The key in the file ``path``, in base64url; ``ValueError`` when there is none.  The message never shows it."""
    try:
        with open(path, "rb") as opened:
            key = opened.read(_MAX_HMAC_FILE).decode("ascii", "replace").strip()
    except OSError as error:
        raise ValueError(f"{shown(path)}: the key can't be read: {error.strerror}") from None
    plain = key.replace("+", "-").replace("/", "_").rstrip("=")
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError(f"{shown(path)}: a key in base64url expected, as the CA gave it to you")
    return plain


def certificates_file(text: str) -> str:
    """A path of a file with certificates in PEM."""
    file_types.readable_file(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(text)
    except (ssl.SSLError, OSError):
        raise ValueError(f"{shown(text)}: a file with certificates in PEM expected") from None
    return text


def hook_command(text: str) -> tuple[str, ...]:
    """A command line as a shell would split it; its program has to be there."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)}: a command expected: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise ValueError(f"{shown(text)}: a command expected whose program is there and can be run")
    return tuple(words)


def challenge_address(text: str) -> Address:
    """Where challenges are answered: it is listened on, and announced to routers."""
    address = parse_address(text)
    if address.kind == "fd" or address.path.startswith("@") or (address.kind == "inet" and not address.port):
        raise ValueError(f"{shown(text)}: :port, host:port, [v6]:port or the path of a unix socket expected")
    return address


def tcp_address(text: str) -> Address:
    """An address to connect to by TCP."""
    address = types.node_address(text)
    if address.kind != "inet":
        raise ValueError(f"{shown(text)}: host:port or [v6]:port expected")
    return address


OPTIONS = (
    Option("router-url", admin_url, "URL", "admin of a router whose keys get certificates", repeatable=True,
           none="none"),
    Option("controller-url", admin_url, "URL", "admin of a controller whose keys get certificates", repeatable=True,
           none="none"),
    Option("token-file", file_types.readable_file, "FILE", "bearer token for these", none="none"),
    Option("router", router_address, "ADDR", "where routers take subscriptions: UDP host:port (every address behind a"
           " name), or a unix datagram path; the challenge's path is announced there, none where nginx knows it",
           repeatable=True, none="none"),
    Option("subscription-secret-file", file_types.secret_file, "FILE", "secret shared with the routers", none="none"),
    Option("challenge", challenge_address, "ADDR", "where the CA's challenges are answered, and announced to the"
           " routers; :port means our own IP; or the path of a unix socket"),
    Option("self-check-address", tcp_address, "ADDR", "where the check that a host comes to us connects to",
           none="none", default_text="what the host resolves to, port 80"),
    Option("certificates", types.path, "DIR", "HOST/fullchain.pem and HOST/privkey.pem, and our own state"),
    Option("directory", directory_url, "URL", "the CA: its ACME directory", default_text="Let's Encrypt"),
    Option("ca-file", certificates_file, "FILE", "certificates that the CA's own HTTPS may be signed by, beside"
           " the public ones", none="none"),
    Option("email", email_address, "ADDRESS", "where the CA may write to", none="none"),
    Option("eab-kid", key_identifier, "ID", "external account binding: the key's identifier", none="none"),
    Option("eab-hmac-file", hmac_file, "FILE", "external account binding: file with the key, in base64url",
           none="none"),
    Option("agree-tos", types.boolean, "", "agree to the CA's terms of service; without it no CA is asked"),
    Option("dns-hook", hook_command, "COMMAND", "for *. keys: called with set|clear NAME VALUE of a TXT record",
           none="none"),
    Option("keys", types.choice(("all", "labelled")), "all|labelled", "every host with a ready node, or those labelled"
           " fastroute.tls alone"),
    Option("admin", parse_address, "ADDR", "HTTP: health, metrics, certificates; none turns it off", none="none"),
    Option("admin-token-file", file_types.readable_file, "FILE", "bearer token for readers who ask by another name"
           " than the one in --admin", none="none"),
    Option("log-format", types.choice(types.LOG_FORMATS), "FORMAT", "text or json",
           default_text="text on a terminal, json else"),
    Option("log-level", types.choice(types.LOG_LEVELS), "LEVEL", ", ".join(types.LOG_LEVELS)),
)  # fmt: skip

PROGRAM = Program(
    name="fastroute-certs",
    section="certs",
    about="Gets and renews certificates by ACME for the host names that routers and controllers know.  Until a CA has"
    " answered, and without --agree-tos, self-signed ones stand in.",
    file_help="FILE is YAML (section certs:).",
    options=OPTIONS,
    defaults=CertsSettings(),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> CertsSettings:
    """The settings of one start.  ``argv`` is without the program's name.

    Raises ``ConfigurationError`` for anything wrong, ``InfoRequested`` for ``--help`` and ``--version``.
    """
    values = resolve(PROGRAM, read_sources(PROGRAM, argv, environ, width))
    settings = CertsSettings(**{field: resolved.value for field, resolved in values.items()})
    _check_together(settings, values)
    return settings


def _check_together(settings: CertsSettings, values: Mapping[str, Resolved]) -> None:
    if not settings.router_url and not settings.controller_url:
        raise ConfigurationError(f"{values['router_url'].origin}: a --router-url or a --controller-url expected")
    if (settings.eab_kid is None) != (settings.eab_hmac_file is None):
        given, missing = ("eab_kid", "--eab-hmac-file") if settings.eab_kid else ("eab_hmac_file", "--eab-kid")
        raise ConfigurationError(f"{values[given].origin}: {missing} is missing: the CA gave you both")
    place = settings.certificates
    while not os.path.lexists(place) and os.path.dirname(place) not in ("", place):
        place = os.path.dirname(place)
    if os.path.lexists(place) and not (os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)):
        origin = values["certificates"].origin.replace("default", "fastroute-certs: --certificates")
        problem = f"{shown(settings.certificates)}: a directory that can be written expected"
        detail = "" if place == settings.certificates else f" ({place} can't be written)"
        raise ConfigurationError(f"{origin}: {problem}{detail}")
