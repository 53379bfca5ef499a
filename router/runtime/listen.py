"""Listening sockets from addresses.  An edge: the one place that binds.  Standard library only.

* ``:port`` means every interface in IPv4 and, where the machine has it, IPv6, as two sockets (so that a sender's
  address is never an IPv4 one dressed as IPv6).  A name listens on every address it has here.
* Unix sockets at paths: ``socket_paths.py``.
* No SO_REUSEPORT: a second router on the same address must fail, and hand-over goes by the descriptors: what is
  ``held`` already (of an earlier configuration, of the router before this one) is taken instead of bound again.
* All sockets are non-blocking and close on exec.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastroute.router.protocol.address import Address, join_host_port
from fastroute.router.runtime.socket_paths import BACKLOG, bind_path, bind_unix
from fastroute.router.runtime.socket_paths import ListenError as ListenError

#: The default kept 256 of 10,000 announcements sent at once.  The kernel cuts it down to net.core.rmem_max.
RECEIVE_BUFFER = 16 << 20
#: Wake up for a connection when its first bytes are there.  Seconds; the smallest, as who connects sends at once.
DEFER_ACCEPT = 1
_SO_RCVBUFFORCE = 33
_FIRST_SYSTEMD_FD = 3
#: The machine has no IPv6 (or not on this address): no reason not to listen on the rest.
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


Held = Sequence["Listener"]


def socket_name(sock: socket.socket) -> str:
    """Where ``sock`` is bound, as people write addresses."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return join_host_port(name[0], name[1])
    text = os.fsdecode(name)
    return "@" + text[1:] if text.startswith("\0") else text


@dataclass(frozen=True, slots=True)
class Listener:
    """One open socket."""

    socket: socket.socket
    #: As configured.
    address: Address
    #: Device and inode of the path that it made; None: it made none.
    inode: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Where it really listens (the port chosen for port 0), as people write addresses."""
        # A socket that replaced another one was bound under a name of its own.
        return self.address.path if self.inode else socket_name(self.socket)

    def remove_path(self) -> None:
        """Remove the unix socket's path, if it is still the one that this listener made."""
        with contextlib.suppress(OSError):
            info = os.lstat(self.address.path)
            if self.inode == (info.st_dev, info.st_ino):
                os.unlink(self.address.path)


def open_front(addresses: Iterable[Address], mode: int, held: Held = (), *, replace: bool = False) -> list[Listener]:
    """Front sockets: the peer speaks first, so a connection counts from its first bytes (TCP_DEFER_ACCEPT)."""
    listeners = open_streams(addresses, mode, held, replace=replace)
    for listener in listeners:
        if listener.socket.family in (socket.AF_INET, socket.AF_INET6):
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
    return listeners


def open_streams(addresses: Iterable[Address], mode: int, held: Held = (), *, replace: bool = False) -> list[Listener]:
    """Listening stream sockets; ``mode`` and ``replace`` are for unix paths.  All of them, or ``ListenError`` and
    none."""
    return _open_all(addresses, socket.SOCK_STREAM, mode, held, replace=replace)


def open_packets(path: str, mode: int) -> Listener:
    """A listening SOCK_SEQPACKET socket at the unix ``path``."""
    (listener,) = _open_all([Address("unix", path=path)], socket.SOCK_SEQPACKET, mode, ())
    return listener


def open_datagrams(
    addresses: Iterable[Address], mode: int, held: Held = (), *, replace: bool = False
) -> list[Listener]:
    """Datagram sockets (UDP or unix) with a large receive buffer.  All of them, or ``ListenError`` and none."""
    listeners = _open_all(addresses, socket.SOCK_DGRAM, mode, held, replace=replace)
    for listener in listeners:
        _enlarge_receive_buffer(listener.socket)
    return listeners


def remove_paths(listeners: Iterable[Listener]) -> None:
    """Unlink the unix paths that ``listeners`` made, where they are still theirs."""
    for listener in listeners:
        listener.remove_path()


def close(listeners: Iterable[Listener]) -> None:
    """Close the sockets of ``listeners``."""
    for listener in listeners:
        listener.socket.close()


def _open_all(
    addresses: Iterable[Address], kind: socket.SocketKind, mode: int, held: Held, *, replace: bool = False
) -> list[Listener]:
    listeners: list[Listener] = []
    try:
        for address in addresses:
            free = [listener for listener in held if listener not in listeners]
            listeners += _open(address, kind, mode, free, replace=replace)
    except BaseException:
        fresh = [listener for listener in listeners if listener not in held]
        remove_paths(fresh)
        close(fresh)
        raise
    for listener in listeners:
        listener.socket.setblocking(False)
    return listeners


def _open(address: Address, kind: socket.SocketKind, mode: int, held: Held, *, replace: bool) -> list[Listener]:
    try:
        if address.kind == "inet":
            return _open_inet(address, kind, held)
        if (taken := _taken(address, mode, held)) is not None:
            return [taken]
        if address.kind == "fd":
            return [Listener(_inherit(address, kind, os.environ), address)]
        if address.path.startswith("@"):
            return [Listener(bind_unix(address, kind), address)]
        return [Listener(*bind_path(address, kind, mode, replace=replace))]
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {_reason(error, address)}") from error


def _taken(address: Address, mode: int, held: Held) -> Listener | None:
    """The listener of ``held`` with this address; one whose path was replaced does not count."""
    for listener in held:
        if listener.address != address:
            continue
        if listener.inode is not None:
            with contextlib.suppress(FileNotFoundError):
                info = os.lstat(address.path)
                if listener.inode == (info.st_dev, info.st_ino):
                    if stat.S_IMODE(info.st_mode) != mode:
                        os.chmod(address.path, mode)
                    return listener
            continue
        return listener
    return None


def _reason(error: OSError, address: Address) -> str:
    if isinstance(error, socket.gaierror):
        return f"{address.host} does not resolve: {error.strerror}"
    hints = {
        errno.EADDRINUSE: "another process listens there",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.EACCES: f"user {os.geteuid()} has no right to",
        errno.ENOENT: f"the directory {os.path.dirname(address.path)!r} does not exist",
    }
    hint = hints.get(error.errno or 0)
    return f"{error.strerror or error}{f' ({hint})' if hint else ''}"


def _open_inet(address: Address, kind: socket.SocketKind, held: Held) -> list[Listener]:
    listeners: list[Listener] = []
    skipped: OSError | None = None
    port = address.port
    for family, host in _hosts(address, kind):
        try:
            listener = _bound(address, family, host, held) or Listener(_bind_inet(family, host, port, kind), address)
        except OSError as error:
            if error.errno not in _NO_SUCH_FAMILY:
                close(listener for listener in listeners if listener not in held)
                raise
            skipped = error
            continue
        listeners.append(listener)
        # Port 0: one port for both families.
        port = port or listener.socket.getsockname()[1]
    if not listeners:
        raise skipped or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return listeners


def _bound(address: Address, family: socket.AddressFamily, host: str, held: Held) -> Listener | None:
    """The listener of ``held`` that is bound there, however its address was written."""
    for listener in held:
        if listener.socket.family == family:
            at, port = listener.socket.getsockname()[:2]
            if at == host and (port == address.port or (address.port == 0 and listener.address == address)):
                return listener
    return None


def _hosts(address: Address, kind: socket.SocketKind) -> list[tuple[socket.AddressFamily, str]]:
    if not address.host:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    infos = socket.getaddrinfo(address.host, address.port, type=kind, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(name[0])) for family, _, _, _, name in infos))


def _bind_inet(family: socket.AddressFamily, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # Not for UDP, where it would let a second process share the port and take our datagrams.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _inherit(address: Address, kind: socket.SocketKind, environ: Mapping[str, str]) -> socket.socket:
    passed = _systemd_count(environ)
    if passed is not None and not _FIRST_SYSTEMD_FD <= address.fd < _FIRST_SYSTEMD_FD + passed:
        last = _FIRST_SYSTEMD_FD + passed - 1
        raise ListenError(f"cannot listen on {address}: systemd passed fd://{_FIRST_SYSTEMD_FD} to fd://{last}")
    try:
        sock = socket.socket(fileno=address.fd)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: no socket was passed there ({error.strerror})") from error
    if sock.type != kind:
        sock.detach()
        wanted = "stream" if kind == socket.SOCK_STREAM else "datagram"
        raise ListenError(f"cannot listen on {address}: a {wanted} socket expected")
    if kind == socket.SOCK_STREAM:
        sock.listen(BACKLOG)
    sock.set_inheritable(False)
    return sock


def _systemd_count(environ: Mapping[str, str]) -> int | None:
    """How many sockets systemd passed to this process (sd_listen_fds(3)); None when it passed none."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = environ.get("LISTEN_FDS", "")
    return int(count) if count.isdigit() and int(count) else None


def _enlarge_receive_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
