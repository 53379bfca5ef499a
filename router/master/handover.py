"""One router gives its place to another, over a unix socket in ``--run-dir``: both ends of that talk.

The socket is SOCK_SEQPACKET with mode 0600, and each end asks the kernel who the other is: only the same user, or root,
counts.  A message is a JSON object, descriptors beside it (SCM_RIGHTS).

* new: ``{"hello": PROTOCOL, "version": V}``
* old: ``{"offer": PROTOCOL, "version": V, "network": N, "count": n}``, then n ``items``, each with a descriptor, in as
  many messages as it takes.  The new one starts its children with them.
* new: ``{"word": "standby"}``.  The old control saves and gives the state back; the new one reads it.
* new: ``{"word": "ready"}``.  All of the new one serves.
* old: ``{"word": "yours"}``, and drains.

``{"error": text}`` or the end of the connection before ``ready``: the hand-over is off, and the old router goes on.
If the old one dies, the new one has all that it needs and goes on too.
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
from fastroute.router.address import parse_address
from fastroute.router.master.sockets import ROLES, ListeningSockets
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.listen import Listener

#: Counts up when something here changes so that an older router would misunderstand it.
PROTOCOL = 1
NAME = "takeover.sock"
#: Seconds for the old router to answer; it does so when nothing else is going on there (it may just have started).
PATIENCE = 30.0
#: A router that ends while it hands over is asked for again this often: perhaps another is there by then.
ATTEMPTS = 5
#: SCM_MAX_FD of the kernel is 253.
_MAX_FDS = 64
_MAX_MESSAGE = 1 << 16


@dataclass(slots=True)
class HandoverState:
    """What is handed over: listeners by role, the state's memory files, control's ends of the relays' channels.

    ``door`` is the listener of hand-overs itself; its path stays.
    """

    sockets: ListeningSockets = field(default_factory=ListeningSockets)
    door: Listener | None = None
    state: list[int] = field(default_factory=list)
    relays: list[int] = field(default_factory=list)

    def items(self) -> Iterator[tuple[dict[str, object], int]]:
        """What is told of each descriptor, and the descriptor."""
        for role in ROLES:
            for listener in getattr(self.sockets, role):
                yield _told(role, listener), listener.socket.fileno()
        if self.door is not None:
            yield _told("door", self.door), self.door.socket.fileno()
        for role, fds in (("state", self.state), ("relay", self.relays)):
            for fd in fds:
                yield {"role": role}, fd

    def add(self, told: Mapping[str, Any], fd: int, *, same_network: bool) -> None:
        """Take in one item.  A socket in another network (a container's) can't be reached where we are: not taken."""
        role = told["role"]
        if role in ("state", "relay"):
            (self.state if role == "state" else self.relays).append(fd)
            return
        inode = told["inode"] and (int(told["inode"][0]), int(told["inode"][1]))
        listener = Listener(socket.socket(fileno=fd), parse_address(told["address"]), inode)
        if role == "door":
            self.door = listener
        elif role in ROLES and (same_network or listener.socket.family == socket.AF_UNIX):
            getattr(self.sockets, role).append(listener)
        else:
            listener.socket.close()


def _told(role: str, listener: Listener) -> dict[str, object]:
    return {"role": role, "address": str(listener.address), "inode": listener.inode}


class HandoverSocket:
    """One connection between two routers; ``pid`` and ``uid`` are the other's, as the kernel knows them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.pid, self.uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def fileno(self) -> int:
        """For ``select``."""
        return self._sock.fileno()

    @property
    def trusted(self) -> bool:
        """Whether the other is the same user, or root."""
        return self.uid in (0, os.geteuid())

    def say(self, **message: object) -> bool:
        """Send a message, if that is possible at once."""
        return self._send(message, [])

    def offer(self, estate: HandoverState) -> bool:
        """Send all of ``estate``."""
        items = list(estate.items())
        sent = self.say(offer=PROTOCOL, version=fastroute.__version__, network=_network(), count=len(items))
        for at in range(0, len(items), _MAX_FDS):
            part = items[at : at + _MAX_FDS]
            sent = sent and self._send({"items": [told for told, _ in part]}, [fd for _, fd in part])
        return sent

    def hear(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next message and its descriptors; None when the connection has ended or is not understood."""
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

    def patience(self, seconds: float) -> None:
        """How long :meth:`hear` waits; 0: not at all."""
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """End it."""
        self._sock.close()

    def _send(self, message: Mapping[str, object], fds: list[int]) -> bool:
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds)
        except OSError:
            return False
        return True


def accept(door: Listener) -> HandoverSocket | None:
    """Who knocks at ``door``, if it is somebody who may."""
    try:
        sock, _ = door.socket.accept()
    except OSError:
        return None
    sock.setblocking(False)
    talk = HandoverSocket(sock)
    if talk.trusted:
        return talk
    talk.say(error=f"user {talk.uid} may not take over from user {os.geteuid()}")
    talk.close()
    return None


def take_over(run_dir: str) -> tuple[HandoverSocket, HandoverState] | None:
    """Ask the router that runs with ``run_dir`` for its place; None when there is none.  ``StartError``: it refuses."""
    for _ in range(ATTEMPTS):
        talk = _connect(os.path.join(run_dir, NAME))
        if talk is None:
            return None
        try:
            if (estate := _receive(talk)) is not None:
                return talk, estate
        except StartError:
            talk.close()
            raise
        # It ended in the middle of it: look again whether there is one.
        talk.close()
    raise StartError(f"run-dir: whoever listens at {os.path.join(run_dir, NAME)} breaks off; nothing was taken over")


def _connect(path: str) -> HandoverSocket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(path)
        talk = HandoverSocket(sock)
    except OSError as error:
        sock.close()
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return None
        raise StartError(f"run-dir: {path}: {error.strerror or error}") from None
    if not talk.trusted:
        talk.close()
        raise StartError(f"run-dir: {path}: user {talk.uid} listens there, and {os.geteuid()} or root is expected")
    return talk


def _receive(talk: HandoverSocket) -> HandoverState | None:
    """What the other hands over; None when it ended meanwhile."""
    deadline, estate, count, taken, same = time.monotonic() + PATIENCE, HandoverState(), -1, 0, True
    who = f"the router that runs (pid {talk.pid})"
    talk.say(hello=PROTOCOL, version=fastroute.__version__)
    while taken != count:
        talk.patience(max(0.001, deadline - time.monotonic()))
        message, fds = talk.hear()
        if message is None:
            if time.monotonic() >= deadline:
                raise StartError(f"{who} does not answer: nothing was taken over")
            for fd in (*estate.state, *estate.relays):
                os.close(fd)
            return None
        if "error" in message:
            raise StartError(f"{who} does not hand over: {message['error']}")
        if "offer" in message:
            if message["offer"] != PROTOCOL:
                raise StartError(f"{who} is version {message['version']}, which hands over otherwise: stop it first")
            count, same = message["count"], message["network"] == _network()
        for told, fd in zip(message.get("items", ()), fds, strict=True):
            estate.add(told, fd, same_network=same)
            taken += 1
    talk.patience(0)
    return estate


def _network() -> str:
    """The network namespace of this process; empty when there is no telling."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/net").readlink())
    return ""
