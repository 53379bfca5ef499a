"""One router hands its sockets and state to another, over a unix socket in ``--run-dir``: the protocol of both sides.

The socket is SOCK_SEQPACKET with mode 0600, and each side asks the kernel who the other is: only the same user, or
root, is accepted.  A message is a JSON object, with descriptors beside it (SCM_RIGHTS).

* new: ``{"hello": PROTOCOL, "version": V}``
* old: ``{"offer": PROTOCOL, "version": V, "network": N, "count": n}``, then n ``items``, each with a descriptor, in as
  many messages as it takes.  The new router starts its children with them.
* new: ``{"word": "standby"}``.  The old control saves the state and gives it back; the new one reads it.
* new: ``{"word": "ready"}``.  All children of the new router serve.
* old: ``{"word": "yours"}``; then it drains.

``{"error": text}`` or the end of the connection before ``ready``: the hand-over has failed, and the old router goes on.
If the old router dies, the new one has all that it needs and goes on too.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastroute
from fastroute.router.master.sockets import ROLES, ListeningSockets
from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.listen import Listener

#: Counts up when something here changes so that an older router would misunderstand it.
PROTOCOL = 1
SOCKET_NAME = "takeover.sock"
#: The role of the hand-over listener itself, as the protocol calls it.
_LISTENER_ROLE = "door"
#: Seconds for the old router to answer; it does so when it is not busy with another step (it may just have started).
OFFER_TIMEOUT = 30.0
#: How often the new router connects again when the old one ends meanwhile: another may listen there by then.
CONNECT_ATTEMPTS = 5
#: SCM_MAX_FD of the kernel is 253.
_MAX_FDS = 64
_MAX_MESSAGE = 1 << 16


@dataclass(slots=True)
class HandoverState:
    """What one router hands to the other."""

    #: Listeners by role.
    sockets: ListeningSockets = field(default_factory=ListeningSockets)
    #: The listener of hand-overs itself; its path stays.
    listener: Listener | None = None
    #: The memory files in which control leaves its state.
    state_fds: list[int] = field(default_factory=list)
    #: Control's ends of the channels to relays.
    relay_channels: list[int] = field(default_factory=list)

    def items(self) -> Iterator[tuple[dict[str, object], int]]:
        """The description of each descriptor, and the descriptor."""
        for role in ROLES:
            for listener in getattr(self.sockets, role):
                yield _describe(role, listener), listener.socket.fileno()
        if self.listener is not None:
            yield _describe(_LISTENER_ROLE, self.listener), self.listener.socket.fileno()
        for role, fds in (("state", self.state_fds), ("relay", self.relay_channels)):
            for fd in fds:
                yield {"role": role}, fd

    def add(self, description: Mapping[str, Any], fd: int, *, same_network: bool) -> None:
        """Take in one item.  A TCP or UDP socket of another network (a container's) is of no use here: it is closed."""
        role = description["role"]
        if role in ("state", "relay"):
            (self.state_fds if role == "state" else self.relay_channels).append(fd)
            return
        inode = description["inode"] and (int(description["inode"][0]), int(description["inode"][1]))
        listener = Listener(socket.socket(fileno=fd), parse_address(description["address"]), inode)
        if role == _LISTENER_ROLE:
            self.listener = listener
        elif role in ROLES and (same_network or listener.socket.family == socket.AF_UNIX):
            getattr(self.sockets, role).append(listener)
        else:
            listener.socket.close()


def _describe(role: str, listener: Listener) -> dict[str, object]:
    return {"role": role, "address": str(listener.address), "inode": listener.inode}


class HandoverSocket:
    """One connection between two routers."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        #: The other router's process and user, as the kernel knows them.
        self.pid, self.uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def fileno(self) -> int:
        """For ``select``."""
        return self._sock.fileno()

    @property
    def trusted(self) -> bool:
        """Whether the other router runs as the same user, or as root."""
        return self.uid in (0, os.geteuid())

    def send(self, **message: object) -> bool:
        """Send a message; False when that is not possible at once."""
        return self._send(message, [])

    def offer(self, state: HandoverState) -> bool:
        """Send all of ``state``."""
        items = list(state.items())
        sent = self.send(offer=PROTOCOL, version=fastroute.__version__, network=_network(), count=len(items))
        for at in range(0, len(items), _MAX_FDS):
            part = items[at : at + _MAX_FDS]
            descriptions, fds = [description for description, _ in part], [fd for _, fd in part]
            sent = sent and self._send({"items": descriptions}, fds)
        return sent

    def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next message and its descriptors; None when the connection has ended, or the message makes no sense."""
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _MAX_MESSAGE, _MAX_FDS)
            for fd in fds:
                # recv_fds of Python 3.11 to 3.13 drops its flags, MSG_CMSG_CLOEXEC for one.
                os.set_inheritable(fd, False)
            message = read_json(data) if data else None
        except (OSError, ValueError):
            message = None
        return (message if isinstance(message, dict) else None), fds

    def set_timeout(self, seconds: float) -> None:
        """How long :meth:`receive` waits; 0: not at all."""
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _send(self, message: Mapping[str, object], fds: list[int]) -> bool:
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds)
        except OSError:
            return False
        return True


def accept(listener: Listener) -> HandoverSocket | None:
    """The router that connects to ``listener``, if its user may take over."""
    try:
        sock, _ = listener.socket.accept()
    except OSError:
        return None
    sock.setblocking(False)
    connection = HandoverSocket(sock)
    if connection.trusted:
        return connection
    connection.send(error=f"user {connection.uid} may not take over from user {os.geteuid()}")
    connection.close()
    return None


def take_over(run_dir: str) -> tuple[HandoverSocket, HandoverState] | None:
    """Connect to the router that runs with ``run_dir`` and receive what it offers; None when no router runs there.

    ``StartError``: it refuses.
    """
    path = os.path.join(run_dir, SOCKET_NAME)
    for _ in range(CONNECT_ATTEMPTS):
        connection = _connect(path)
        if connection is None:
            return None
        try:
            if (state := _receive_state(connection)) is not None:
                return connection, state
        except StartError:
            connection.close()
            raise
        # The router ended in the middle of it: see whether there is one again.
        connection.close()
    raise StartError(f"run-dir: the process that listens at {path} breaks off each time; nothing was taken over")


def _connect(path: str) -> HandoverSocket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(path)
        connection = HandoverSocket(sock)
    except OSError as error:
        sock.close()
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return None
        raise StartError(f"run-dir: {path}: {error.strerror or error}") from None
    if not connection.trusted:
        connection.close()
        raise StartError(f"run-dir: {path}: user {connection.uid} listens there; {os.geteuid()} or root expected")
    return connection


def _receive_state(connection: HandoverSocket) -> HandoverState | None:
    """What the old router hands over; None when it ended meanwhile."""
    deadline, state, count, received, same_network = time.monotonic() + OFFER_TIMEOUT, HandoverState(), -1, 0, True
    peer = f"the router that runs (pid {connection.pid})"
    connection.send(hello=PROTOCOL, version=fastroute.__version__)
    while received != count:
        connection.set_timeout(max(0.001, deadline - time.monotonic()))
        message, fds = connection.receive()
        if message is None:
            if time.monotonic() >= deadline:
                raise StartError(f"{peer} does not answer: nothing was taken over")
            for fd in (*state.state_fds, *state.relay_channels):
                os.close(fd)
            return None
        if "error" in message:
            raise StartError(f"{peer} does not hand over: {message['error']}")
        if "offer" in message:
            if message["offer"] != PROTOCOL:
                version = message["version"]
                raise StartError(f"{peer} is version {version}, which has another hand-over protocol: stop it first")
            count, same_network = message["count"], message["network"] == _network()
        for description, fd in zip(message.get("items", ()), fds, strict=True):
            state.add(description, fd, same_network=same_network)
            received += 1
    connection.set_timeout(0)
    return state


def _network() -> str:
    """The network namespace of this process; empty when the kernel does not tell."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/net").readlink())
    return ""
