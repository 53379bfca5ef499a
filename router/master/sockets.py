"""Every listening socket of one configuration, by what it is for."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastroute.router.config.settings import Settings
from fastroute.router.runtime import listen
from fastroute.router.runtime.listen import Listener

#: An address in use is tried for this long: who was killed and started again must not fail at its own remains.
REMAINS = 0.5


@dataclass(slots=True, eq=False)
class ListeningSockets:
    """Listeners by role.  Two configurations share those that stand in both."""

    front: list[Listener] = field(default_factory=list)
    subscription: list[Listener] = field(default_factory=list)
    admin: list[Listener] = field(default_factory=list)
    stats: list[Listener] = field(default_factory=list)

    def __iter__(self) -> Iterator[Listener]:
        for role in ROLES:
            yield from getattr(self, role)

    def close_but(self, kept: ListeningSockets | None) -> None:
        """Close what is not in ``kept``, and remove the paths of that."""
        names = list(kept or ())
        over = [listener for listener in self if listener not in names]
        listen.remove_paths(over)
        listen.close(over)


ROLES = ("front", "subscription", "admin", "stats")


def open_sockets(settings: Settings, held: ListeningSockets) -> ListeningSockets:
    """All that ``settings`` asks for: what is ``held`` already, else new.  ``ListenError``: nothing was opened."""
    mode, opened = settings.listen_mode, ListeningSockets()
    try:
        opened.front = listen.open_front(settings.listen, mode, held.front)
        opened.subscription = listen.open_datagrams(settings.subscription_server, mode, held.subscription)
        opened.admin = listen.open_streams([settings.admin] if settings.admin else [], mode, held.admin)
        opened.stats = listen.open_streams(settings.stats, mode, held.stats)
    except BaseException:
        opened.close_but(held)
        raise
    return opened


def open_patiently(settings: Settings, held: ListeningSockets) -> ListeningSockets:
    """All sockets, even if the children of a master that was killed a moment ago still have to notice."""
    deadline = time.monotonic() + REMAINS
    while True:
        try:
            return open_sockets(settings, held)
        except listen.ListenError as error:
            cause = error.__cause__
            taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
            if not taken or time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def descriptors(listeners: list[Listener]) -> list[int]:
    """Their numbers."""
    return [listener.socket.fileno() for listener in listeners]
