"""Starts one relay process: ``python -m fastroute.router.relay.main --settings-fd N``.  Standard library only."""

from __future__ import annotations

import gc
import mmap
import os
import signal
import sys

from fastroute.router.config.error_pages import read_index
from fastroute.router.relay.error_pages import NO_PAGES, ErrorPages
from fastroute.router.relay.loop import Relay
from fastroute.router.runtime import inheritance, logs
from fastroute.router.runtime.descriptor_limit import raise_descriptor_limit
from fastroute.router.runtime.own_sockets import OwnSockets


def main(argv: list[str]) -> int:
    """Carry requests until SIGTERM or SIGHUP and all are done (0), or until the master is gone."""
    inherited = inheritance.read(inheritance.settings_fd(argv))
    settings = inherited.settings
    logs.set_up(settings.get("log_format"), settings.get("log_level", "info"))
    relay = Relay(settings, inherited.listen_fds, inherited.channel_fd, inherited.lifeline_fd,
                  raise_descriptor_limit(), inherited.index, OwnSockets(inherited.own_sockets).owns,
                  map_pages(inherited.pages_fd), inherited.http_fds)  # fmt: skip
    wakeup, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    # The loop reads what arrived; what is set here only keeps a signal from doing what it does by default.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Ctrl-C goes to the whole group, and it is the master that decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: None)
    # The master blocks them for who is not ready yet.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1, signal.SIGHUP])
    _calm_collector()
    relay.run(wakeup)
    return 0


def map_pages(fd: int) -> ErrorPages:
    """The error pages in the memory file ``fd``, which is closed; -1: there are none."""
    if fd < 0:
        return NO_PAGES
    # Not read: all relays share the file's position.
    block = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    os.close(fd)
    begin = block.find(b"\n") + 1
    return ErrorPages(read_index(block[:begin]), memoryview(block), begin)


def _calm_collector() -> None:
    """Sessions are in no cycle, so there is little to collect: look seldom, and never at what stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
