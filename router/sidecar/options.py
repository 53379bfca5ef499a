"""The options of ``fastroute-ctl announce``: one row each, and how flags and variables become settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import fastroute
from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.command_line import read_command_line
from fastroute.router.config.configuration import (
    ConfigurationError,
    Option,
    Program,
    Resolved,
    read_environment,
    resolve,
    shown,
)
from fastroute.router.protocol.address import Address, parse_address
from fastroute.router.protocol.key import parse_key
from fastroute.router.protocol.node_options import KEY_SETTINGS, NODE_SETTINGS, NodeOptions, non_defaults
from fastroute.router.protocol.proof import SecretError, read_secret
from fastroute.router.protocol.subscription import Entry
from fastroute.router.sidecar import signature
from fastroute.router.sidecar.pattern import Pattern, parse_pattern
from fastroute.router.sidecar.router_peer import Credentials, own_pid_owner

ROUTER = parse_address("127.0.0.1:3031")
_MAX_KEY_FILE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceSettings(NodeOptions):
    """What is announced, where, and how its end is waited for.  Times are seconds."""

    router: tuple[Address, ...] = (ROUTER,)
    key: tuple[str, ...] = ()
    address: Pattern | None = None
    probe: str = "tcp"
    grace: float = 5.0
    """What a router that never acks is given to finish."""
    drain_timeout: float = 30.0
    """How long requests in flight are waited for at most."""
    subscription_secret_file: str | None = None
    sign: tuple[str, str] | None = None
    """Digest and file of the private key."""
    log_format: str | None = None
    log_level: str = "info"
    command: tuple[str, ...] = field(default=())

    def entries(self) -> tuple[Entry, ...]:
        """One for each key, without address."""
        owner = own_pid_owner()
        options = NodeOptions(**non_defaults(self))
        return tuple(Entry(key, options=options, owner=owner) for key in self.key)

    def credentials(self) -> Credentials:
        """What proves who we are; ``ValueError`` when a file of it can't be used."""
        secret, sign = b"", None
        if self.subscription_secret_file is not None:
            secret = read_secret(self.subscription_secret_file)
        if self.sign is not None:
            digest, file = self.sign
            try:
                with open(file, "rb") as opened:
                    sign = signature.read_key(opened.read(_MAX_KEY_FILE), digest)
            except OSError as error:
                raise ValueError(f"{file}: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from None
        return Credentials(secret, sign)


def router_address(text: str) -> Address:
    """Where a router takes subscriptions."""
    address = parse_address(text)
    if address.kind == "fd" or (address.kind == "inet" and not address.port):
        raise ValueError(f"{shown(text)}: host:port (UDP) or the path of a datagram socket expected")
    return address


def digest_and_key(text: str) -> tuple[str, str]:
    """``DIGEST:FILE``."""
    digest, colon, file = text.partition(":")
    if not colon or digest.lower() not in signature.DIGESTS:
        known = ", ".join(signature.DIGESTS)
        raise ValueError(f"{shown(text)}: DIGEST:FILE expected, with one of {known} and a private key in PEM")
    return digest.lower(), file_types.readable_file(file)


OPTIONS = (
    Option("router", router_address, "ADDR", "subscription server: host:port (UDP; every address behind a name) or the"
           " path of a datagram socket", repeatable=True),
    Option("key", parse_key, "KEY", "host name that the worker serves (also *.example.com, example.com/api)",
           repeatable=True),
    Option("address", parse_pattern, "PATTERN:PORT", "where the worker listens: 192.*:8000, eth0:8000, :8000 (the"
           " router fills in the sender's IP), port 0 for a free one; or the path of its socket"),
    *(Option(setting.name, setting.read, setting.metavar, setting.about) for setting in NODE_SETTINGS),
    *(Option(setting.name, setting.read, setting.metavar, setting.about, default_text="the router's")
      for setting in KEY_SETTINGS),
    Option("probe", types.probe, "tcp|PATH|none", "announced once the port accepts, a GET of PATH answers below 500"
           " and not 400, or at once"),
    Option("grace", types.duration_or_zero, "S", "at the end, time for requests in flight at routers that don't ack"),
    Option("drain-timeout", types.duration_or_zero, "S", "at the end, longest wait for requests in flight"),
    Option("subscription-secret-file", file_types.readable_file, "FILE", "secret shared with the routers", none="none"),
    Option("sign", digest_and_key, "DIGEST:PEM", "sign as uWSGI does, with this private RSA key (needs the Python"
           " package cryptography)", none="none"),
    Option("log-format", types.choice(("text", "json")), "FORMAT", "text or json",
           default_text="text on a terminal, json else"),
    Option("log-level", types.choice(("debug", "info", "warning", "error")), "LEVEL", "debug, info, warning, error"),
)  # fmt: skip

PROGRAM = Program(
    name="fastroute-ctl announce",
    section="announce",
    about="Runs COMMAND, announces it to routers while it accepts connections, and withdraws it before it ends.  In"
    " COMMAND {port} is replaced, and FASTROUTE_PORT is set; without COMMAND, for a worker that is already there.",
    file_help="",
    options=OPTIONS,
    defaults=AnnounceSettings(),
    usage="--router ADDR --key KEY --address PATTERN:PORT [options] [-- COMMAND...]",
)


def parse(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> AnnounceSettings:
    """The settings of one start; ``ConfigurationError`` for anything wrong, ``InfoRequested`` for help and version."""
    words, command = list(argv), list[str]()
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
        if not command:
            raise ConfigurationError(f"{PROGRAM.name}: --: a command expected behind it")
    line = read_command_line(PROGRAM, words, fastroute.__version__, width)
    values = resolve(PROGRAM, [line.flags, read_environment(PROGRAM, environ)])
    given = {name: resolved.value for name, resolved in values.items()}
    settings = AnnounceSettings(**given, command=tuple(command))
    _check_together(settings, values)
    return settings


def _check_together(settings: AnnounceSettings, values: Mapping[str, Resolved]) -> None:
    for name in ("router", "key", "address"):
        if not getattr(settings, name):
            flag = f"--{name} {next(option.metavar for option in OPTIONS if option.name == name)}"
            raise ConfigurationError(f"{PROGRAM.name}: {flag} is missing (or FASTROUTE_{name.upper()})")
    pattern = settings.address
    assert pattern is not None
    if not pattern.path and not pattern.port and not settings.command:
        text = "port 0 stands for a free one, which only a COMMAND can be told; the worker's own port expected"
        raise ConfigurationError(f"{values['address'].origin}: {shown(pattern.text)}: {text}")
    if pattern.path and any("{port}" in word for word in settings.command):
        raise ConfigurationError(f"{values['address'].origin}: {{port}} in COMMAND, but the address is a socket's path")
    if settings.subscription_secret_file is not None and settings.sign is not None:
        raise ConfigurationError(f"{values['sign'].origin}: a secret is given as well; a packet has one proof")
    try:
        settings.credentials()
    except (SecretError, ValueError) as error:
        origin = values["sign" if settings.sign is not None else "subscription_secret_file"].origin
        raise ConfigurationError(f"{origin}: {error}") from None
