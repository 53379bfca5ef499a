"""What the master hands to a child: settings and descriptor numbers, as one JSON object in an inherited memory file.

And what a child says to its master: words, each a line with its process id in front, over one pipe that all share.

Pure but for reading that file.  Standard library only, because the relays read it too.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any


class StartError(Exception):
    """A child process can't be started: one line that says why."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The settings and the numbers of the descriptors that one child inherits."""

    #: The object of ``Settings.to_json()``.
    settings: dict[str, Any]
    #: Which relay it is.
    index: int = 0
    #: A pipe that ends with the master.
    lifeline_fd: int = -1
    #: A relay's end of the channel to control.
    channel_fd: int = -1
    listen_fds: list[int] = field(default_factory=list)
    http_fds: list[int] = field(default_factory=list)
    #: Control's ends of the channels to relays.
    channel_fds: list[int] = field(default_factory=list)
    subscription_fds: list[int] = field(default_factory=list)
    challenge_fds: list[int] = field(default_factory=list)
    admin_fds: list[int] = field(default_factory=list)
    admin_read_fds: list[int] = field(default_factory=list)
    stats_fds: list[int] = field(default_factory=list)
    state_fds: list[int] = field(default_factory=list)
    #: The addresses that the fronts are bound to, as text, with a port 0 replaced.
    own: list[str] = field(default_factory=list)
    #: Stream sockets that must not become nodes, as ``own_sockets.describe`` has them.
    own_sockets: list[Any] = field(default_factory=list)
    #: Channels of relays that only finish their requests; another control has them until this one holds the state.
    leaving_fds: list[int] = field(default_factory=list)
    #: The memory file with the error pages (``config/error_pages.py``).
    pages_fd: int = -1
    #: Where control reports its state to the master.
    report_fd: int = -1
    #: Control reports ``alive`` once in so many seconds; 0: it does not.
    signs_of_life: float = 0.0
    #: The supervisor's channel to control, its plan and its record of processes.
    worker_fds: list[int] = field(default_factory=list)

    def descriptors(self) -> list[int]:
        """Every descriptor the child has to inherit."""
        single = [fd for fd in (self.lifeline_fd, self.report_fd, self.channel_fd, self.pages_fd) if fd >= 0]
        several = (
            self.listen_fds, self.http_fds, self.channel_fds, self.leaving_fds, self.subscription_fds,
            self.challenge_fds, self.admin_fds, self.admin_read_fds, self.stats_fds, self.state_fds, self.worker_fds,
        )  # fmt: skip
        return [*single, *(fd for fds in several for fd in fds)]

    def to_bytes(self) -> bytes:
        """For :func:`read`."""
        return json.dumps(asdict(self)).encode()


#: Words of control: it waits until it may have the state; it serves, and so does every relay of its own; it lives.
STANDBY, READY, ALIVE = "standby", "ready", "alive"


def report(report_fd: int, word: str) -> None:
    """Say ``word`` to the master."""
    if report_fd >= 0:
        with contextlib.suppress(OSError):
            os.write(report_fd, f"{os.getpid()} {word}\n".encode())


def read(fd: int) -> Inheritance:
    """What the master wrote for this child; may be read again by a successor of this process."""
    return Inheritance(**json.loads(os.pread(fd, os.fstat(fd).st_size, 0)))


def settings_fd(argv: list[str]) -> int:
    """The number in ``--settings-fd N``; children are started by the master only, so anything else is a bug of ours."""
    if len(argv) != 3 or argv[1] != "--settings-fd" or not argv[2].isdigit():
        raise SystemExit(f"{argv[0]}: started by fastroute-router, with --settings-fd N, and not by hand")
    return int(argv[2])
