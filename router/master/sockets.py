"""Every listening socket of one configuration, by what it is for."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastroute.router.config.settings import Settings
from fastroute.router.runtime import listen
from fastroute.router.runtime.listen import Listener

#: Seconds that an address in use is tried again: the children of a master that was killed may still have to notice.
ADDRESS_IN_USE_TIMEOUT = 0.5
_RETRY_INTERVAL = 0.02


@dataclass(slots=True, eq=False)
class ListeningSockets:
    """Listeners by role.  Two configurations share those that stand in both."""

    front: list[Listener] = field(default_factory=list)
    front_http: list[Listener] = field(default_factory=list)
    subscription: list[Listener] = field(default_factory=list)
    challenge: list[Listener] = field(default_factory=list)
    admin: list[Listener] = field(default_factory=list)
    admin_read: list[Listener] = field(default_factory=list)
    stats: list[Listener] = field(default_factory=list)

    @property
    def fronts(self) -> list[Listener]:
        """All that relays accept from."""
        return [*self.front, *self.front_http]

    def __iter__(self) -> Iterator[Listener]:
        for role in ROLES:
            yield from getattr(self, role)

    def close_except(self, needed: ListeningSockets) -> None:
        """Close the listeners that are not ``needed``, and remove their paths."""
        needed_listeners = list(needed)
        unneeded = [listener for listener in self if listener not in needed_listeners]
        listen.remove_paths(unneeded)
        listen.close(unneeded)


ROLES = ("front", "front_http", "subscription", "challenge", "admin", "admin_read", "stats")


def open_sockets(settings: Settings, existing: ListeningSockets) -> ListeningSockets:
    """All that ``settings`` asks for: an ``existing`` listener or a new one.  ``ListenError``: nothing is open."""
    mode, replace, opened = settings.listen_mode, settings.replace_sockets, ListeningSockets()
    try:
        opened.front = listen.open_front(settings.listen, mode, existing.front, replace=replace)
        opened.front_http = listen.open_front(settings.listen_http, mode, existing.front_http, replace=replace)
        opened.subscription = listen.open_datagrams(
            settings.subscription_server, mode, existing.subscription, replace=replace
        )
        opened.challenge = listen.open_datagrams(settings.challenge_server, mode, existing.challenge, replace=replace)
        opened.admin = listen.open_streams(
            [settings.admin] if settings.admin else [], mode, existing.admin, replace=replace
        )
        opened.admin_read = listen.open_streams(settings.admin_read, mode, existing.admin_read, replace=replace)
        opened.stats = listen.open_streams(settings.stats, mode, existing.stats, replace=replace)
    except BaseException:
        opened.close_except(existing)
        raise
    return opened


def open_with_retries(settings: Settings, existing: ListeningSockets) -> ListeningSockets:
    """As :func:`open_sockets`, but tried again for a moment while an address is in use."""
    deadline = time.monotonic() + ADDRESS_IN_USE_TIMEOUT
    while True:
        try:
            return open_sockets(settings, existing)
        except listen.ListenError as error:
            cause = error.__cause__
            in_use = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
            if not in_use or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_INTERVAL)


def descriptors(listeners: list[Listener]) -> list[int]:
    """The descriptor of each listener."""
    return [listener.socket.fileno() for listener in listeners]
