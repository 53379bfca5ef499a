"""Telling routers something by datagram, as operator: every address behind a name, and a short wait for acks.

An edge of ``subscribe`` and ``unsubscribe``.  No admin is needed, and no ack either: an original uWSGI sends none.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from fastroute.ctl.errors import Unreachable
from fastroute.router.address import Address, AddressError, join_host_port, parse_address
from fastroute.router.key import KeyProblem, parse_key
from fastroute.router.proof import Prover, SecretError, exposure, read_secret
from fastroute.router.runtime.ack_socket import bind_for_acks, connect
from fastroute.router.subscription import Ack, Announcement, Entry, decode_ack, encode_plain
from fastroute.router.wire import MAX_PACKET

SOURCE = "operator"
SERVER = "127.0.0.1:3031"
#: Seconds to wait for an ack, and after how many of them the packet is repeated.
PATIENCE = 0.6
REPEAT = 0.2


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it at one router.  ``ack`` None: none came; ``trouble``: the packet can't have arrived."""

    router: str
    ack: Ack | None = None
    trouble: str = ""


def read_key(text: str) -> str:
    """``text`` as a key."""
    try:
        return parse_key(text)
    except KeyProblem as problem:
        raise click.UsageError(f"KEY {problem}") from None


def read_node(text: str) -> str:
    """``text`` as the address of a node."""
    address = _address("ADDR", text)
    if address.kind == "fd" or (address.kind == "inet" and not address.port) or text.startswith("."):
        raise click.UsageError(f"ADDR {text!r}: ip:port, [v6]:port, name:port or an absolute socket path expected")
    return str(address)


def tell(servers: Sequence[str], entry: Entry, secret_file: str | None = None) -> list[Told]:
    """Send ``entry`` to every address behind ``servers``; without any, to those of the environment.

    What goes by UDP is proven with the secret of ``secret_file``, and only proven acks are believed then.
    """
    secret = _secret(secret_file) if secret_file else None
    targets = [target for server in servers or _default_servers() for target in _targets(server)]
    return [_tell_one(target, entry, secret) for target in dict.fromkeys(targets)]


def _secret(file: str) -> bytes:
    try:
        secret = read_secret(file)
    except SecretError as error:
        raise click.UsageError(f"--subscription-secret-file: {error}") from None
    if said := exposure(file):
        click.echo(f"fastroute-ctl: warning: {said}", err=True)
    return secret


def report(told: list[Told], done: str, *, proven: bool = False) -> int:
    """Print what came of it; the exit code.  ``proven``: with a secret."""
    failed = 0
    for one in told:
        if one.trouble:
            continue
        if one.ack is None:
            print(f"{one.router}: sent; no ack, as from an original uWSGI{' or a router with another secret' * proven}")
        elif one.ack.result == "refused":
            failed = 1
            click.echo(f"fastroute-ctl: {one.router} refuses: {one.ack.reason}", err=True)
        else:
            running = f", {one.ack.in_flight} requests still running there" if one.ack.in_flight else ""
            print(f"{one.router}: {done}{running}")
    troubles = [f"{one.router} ({one.trouble})" for one in told if one.trouble]
    if len(troubles) == len(told):
        raise Unreachable(f"can't reach {', '.join(troubles)}: is a router listening there? --server says where")
    if troubles:
        click.echo(f"fastroute-ctl: not told: {', '.join(troubles)}", err=True)
    return failed


def _default_servers() -> list[str]:
    """What the controller (or the router) of this container was told: there nobody should have to say it again."""
    found = os.environ.get("FASTROUTE_ROUTER") or os.environ.get("FASTROUTE_SUBSCRIPTION_SERVER") or SERVER
    return [server.strip() for server in found.split(",") if server.strip()]


def _address(what: str, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise click.UsageError(f"{what} {error}") from None


def _targets(server: str) -> list[tuple[str, int] | str]:
    address = _address("--server", server)
    if address.kind == "fd":
        raise click.UsageError(f"--server {server}: host:port or a socket path expected")
    if address.kind == "unix":
        return [address.path]
    try:
        found = socket.getaddrinfo(address.host or "127.0.0.1", address.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise Unreachable(f"--server {server}: {address.host!r} does not resolve ({error.strerror})") from None
    return [target for _, target in sorted({(one[0], (str(one[4][0]), address.port)) for one in found})]


def _tell_one(target: tuple[str, int] | str, entry: Entry, secret: bytes | None) -> Told:
    name = target if isinstance(target, str) else join_host_port(*target)
    own: Path | None = None
    try:
        with closing(connect(target)) as sock:
            # The directory may not be ours to write: no ack then, but the packet counts all the same.
            with suppress(OSError):
                own = bind_for_acks(sock, target)
            if secret and not isinstance(target, str):
                return Told(name, _ask(sock, _named(entry, sock), Prover(secret)))
            return Told(name, _ask(sock, entry, None))
    except OSError as error:
        return Told(name, trouble=error.strerror or str(error))
    finally:
        if own is not None:
            own.unlink(missing_ok=True)


def _named(entry: Entry, sock: socket.socket) -> Entry:
    """``entry`` with our own IP where it names none: no proof covers where a datagram comes from."""
    address = parse_address(entry.address)
    if not address.unspecified:
        return entry
    return replace(entry, address=join_host_port(sock.getsockname()[0], address.port))


def _ask(sock: socket.socket, entry: Entry, prover: Prover | None) -> Ack | None:
    packet = encode_plain(entry, Announcement(source=SOURCE, ack=True))
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        sock.send(prover.seal(packet) if prover else packet)
        sock.settimeout(min(left, REPEAT))
        try:
            datagram = sock.recv(MAX_PACKET)
        except TimeoutError:
            continue
        answer = prover.open(datagram) if prover else decode_ack(datagram)
        if answer is not None and answer.result != "again":
            return answer
    return None
