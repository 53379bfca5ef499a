"""Announces a node to routers by datagram, as the operator: to every address of a name, with a short wait for acks.

An edge of ``subscribe`` and ``unsubscribe``.  It needs no admin, and no ack either: an original uWSGI sends none.
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
from fastroute.router.protocol.address import Address, AddressError, join_host_port, parse_address
from fastroute.router.protocol.key import KeyProblem, parse_key
from fastroute.router.protocol.proof import Prover, SecretError, exposure, read_secret
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode_ack, encode_plain
from fastroute.router.protocol.wire import MAX_PACKET
from fastroute.router.runtime.ack_socket import bind_for_acks, connect

SOURCE = "operator"
SERVER = "127.0.0.1:3031"
#: Seconds to wait for an ack: a busy router gives it within one second (docs/reference/wire.md).
ACK_TIMEOUT = 2.0
#: Seconds after which the packet is sent again.
RESEND_INTERVAL = 0.2


@dataclass(frozen=True, slots=True)
class AnnounceResult:
    """What came of the packet at one router."""

    router: str
    #: None when no ack came.
    ack: Ack | None = None
    #: Why the packet can't have arrived; empty: it may have.
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


def announce(servers: Sequence[str], entry: Entry, secret_file: str | None = None) -> list[AnnounceResult]:
    """Send ``entry`` to every address behind ``servers``; without any, to those of the environment.

    What goes by UDP is proven with the secret of ``secret_file``, and only proven acks are believed then.
    """
    secret = _secret(secret_file) if secret_file else None
    targets = [target for server in servers or _default_servers() for target in _targets(server)]
    return [_announce_to(target, entry, secret) for target in dict.fromkeys(targets)]


def _secret(file: str) -> bytes:
    try:
        secret = read_secret(file)
    except SecretError as error:
        raise click.UsageError(f"--subscription-secret-file: {error}") from None
    if warning := exposure(file):
        click.echo(f"fastroute-ctl: warning: {warning}", err=True)
    return secret


def report(results: list[AnnounceResult], done: str, *, proven: bool = False) -> int:
    """Print what came of it; the exit code.  ``proven``: with a secret."""
    failed = 0
    for result in results:
        router, ack = result.router, result.ack
        if result.trouble:
            continue
        if ack is None:
            print(f"{router}: sent; no ack, as from an original uWSGI{' or a router with another secret' * proven}")
        elif ack.result == "refused":
            failed = 1
            click.echo(f"fastroute-ctl: {router} refuses: {ack.reason}", err=True)
        else:
            running = f", {ack.in_flight} requests still running there" if ack.in_flight else ""
            print(f"{router}: {done}{running}")
    troubles = [f"{result.router} ({result.trouble})" for result in results if result.trouble]
    if len(troubles) == len(results):
        raise Unreachable(f"can't reach {', '.join(troubles)}: is a router listening there? --server says where")
    if troubles:
        click.echo(f"fastroute-ctl: not told: {', '.join(troubles)}", err=True)
    return failed


def _default_servers() -> list[str]:
    """The servers that the controller (or the router) of this container has in its environment."""
    servers = os.environ.get("FASTROUTE_ROUTER") or os.environ.get("FASTROUTE_SUBSCRIPTION_SERVER") or SERVER
    return [server.strip() for server in servers.split(",") if server.strip()]


def _address(option: str, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise click.UsageError(f"{option} {error}") from None


def _targets(server: str) -> list[tuple[str, int] | str]:
    address = _address("--server", server)
    if address.kind == "fd":
        raise click.UsageError(f"--server {server}: host:port or a socket path expected")
    if address.kind == "unix":
        return [address.path]
    try:
        infos = socket.getaddrinfo(address.host or "127.0.0.1", address.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise Unreachable(f"--server {server}: {address.host!r} does not resolve ({error.strerror})") from None
    return [target for _, target in sorted({(info[0], (str(info[4][0]), address.port)) for info in infos})]


def _announce_to(target: tuple[str, int] | str, entry: Entry, secret: bytes | None) -> AnnounceResult:
    name = target if isinstance(target, str) else join_host_port(*target)
    ack_path: Path | None = None
    try:
        with closing(connect(target)) as sock:
            # The directory may not be ours to write: no ack then, but the packet counts all the same.
            with suppress(OSError):
                ack_path = bind_for_acks(sock, target)
            if secret and not isinstance(target, str):
                return AnnounceResult(name, _ask(sock, _named(entry, sock), Prover(secret)))
            return AnnounceResult(name, _ask(sock, entry, None))
    except OSError as error:
        return AnnounceResult(name, trouble=error.strerror or str(error))
    finally:
        if ack_path is not None:
            ack_path.unlink(missing_ok=True)


def _named(entry: Entry, sock: socket.socket) -> Entry:
    """``entry`` with our own IP where it names none: no proof covers where a datagram comes from."""
    address = parse_address(entry.address)
    if not address.unspecified:
        return entry
    return replace(entry, address=join_host_port(sock.getsockname()[0], address.port))


def _ask(sock: socket.socket, entry: Entry, prover: Prover | None) -> Ack | None:
    packet = encode_plain(entry, Announcement(source=SOURCE, ack=True))
    end = time.monotonic() + ACK_TIMEOUT
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        sock.send(prover.seal(packet) if prover else packet)
        sock.settimeout(min(left, RESEND_INTERVAL))
        try:
            datagram = sock.recv(MAX_PACKET)
        except TimeoutError:
            continue
        answer = prover.open(datagram) if prover else decode_ack(datagram)
        if answer is not None and answer.result != "again":
            return answer
    return None
