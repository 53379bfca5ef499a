"""The sink of router mode for one source: a thread with the sockets of all routers, and one that looks up their names.

What is said to each router is decided in :mod:`.session`; how it gets there, in :mod:`.router_link`.  Here: which
routers there are.  Every address behind a name is a router of its own, with its own session.  A name lookup may hang
for seconds, so it happens in a thread that does nothing else and never keeps a withdrawal waiting.

A router that is no longer behind its name is told on for a while, if it ever answered: an overlay network that comes
together again after a cut may leave machines out of its names for seconds, and a router that is being replaced has
requests to finish.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from fastroute.controller.desired import Desired, RouteDiff
from fastroute.controller.router_mode.packets_in_flight import EntryId
from fastroute.controller.router_mode.router_link import (
    NO_LISTENER,
    UDP_LIMIT,
    UDP_WINDOW,
    UNIX_LIMIT,
    UNIX_WINDOW,
    AnnounceListener,
    RouterLink,
)
from fastroute.controller.router_mode.session import RouterSession
from fastroute.router.protocol.address import Address, AddressError
from fastroute.router.protocol.proof import PROOF_SIZE, Prover
from fastroute.router.protocol.subscription import Entry
from fastroute.router.runtime.resolver import KEEP_ADDRESSES
from fastroute.router.sidecar.router_names import RouterNames, Target

#: Seconds between look-ups of a name (docs/reference/controller.md: at least every 5 s); sooner while it is unknown.
RESOLVE_INTERVAL = 4.0

log = logging.getLogger("fastroute.controller.announce.announcer")


class SourceAnnouncer:
    """A :class:`~fastroute.controller.desired.Sink`: makes every router behind ``routers`` hold the desired state.

    ``source`` returns the source's stable name once there is something to apply; ``heartbeat`` is in seconds;
    ``secret`` proves what is sent by UDP (a unix socket needs no proof: its permissions say who can write to it).
    """

    def __init__(
        self,
        routers: Sequence[Address],
        source: Callable[[], str],
        heartbeat: float,
        secret: bytes | None = None,
        listener: AnnounceListener = NO_LISTENER,
    ) -> None:
        for router in routers:
            if router.kind == "fd" or (router.kind == "unix" and router.path.startswith("@")):
                raise AddressError(f"router {str(router)!r}: host:port (UDP) or a socket path expected")
        self._name_source, self._heartbeat = source, heartbeat
        self._source = ""
        self._instance = 0
        self._numbers = itertools.count(1)
        self.started = False
        self._secret, self._listener = secret, listener
        self._past: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        #: What every router should hold.
        self._entries: dict[EntryId, Entry] = {}
        self._lost: tuple[str, ...] = ()
        #: What the sessions know otherwise: the entry that they were told last (None: none), by the id of each.
        self._pending: dict[EntryId, Entry | None] = {}
        self._names = RouterNames(routers, self._on_names, every=RESOLVE_INTERVAL, keep=KEEP_ADDRESSES)
        self._links: dict[tuple[Address, Target], RouterLink] = {}
        #: Those that are no longer behind their names, and since when.
        self._left: dict[tuple[Address, Target], float] = {}
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    # The sink

    def apply(self, desired: Desired, diff: RouteDiff) -> None:
        """Make ``desired`` (which ``diff`` leads to) what every router holds.  Never blocks."""
        with self._lock:
            for route in diff.leave:
                self._pending.setdefault(route.id, self._entries.pop(route.id))
            for route in (*diff.change, *diff.join):
                self._pending.setdefault(route.id, self._entries.get(route.id))
                self._entries[route.id] = route.entry
        self.start()
        self._wake()

    def lose(self, sources: Sequence[str]) -> None:
        """Tell all routers that the machines of these sources are down, as long as they are."""
        with self._lock:
            self._lost = tuple(sources)
            for link in self._links.values():
                link.session.lose(self._lost, time.monotonic())
        self._wake()

    def status(self) -> dict[str, object]:
        """Each router address: acked or original, its boot id, what is pending, requests on withdrawn nodes."""
        now = time.monotonic()
        with self._lock:
            links = [link.status(now) for link in self._counted()]
        return {"source": self._source, "routers": links, "unresolved": self._names.unresolved()}

    def announces(self, names: Collection[EntryId]) -> bool:
        """Whether any of the entries ``names`` is announced here."""
        with self._lock:
            return any(name in self._entries for name in names)

    def routers(self, names: Collection[EntryId] | None = None) -> dict[str, str]:
        """Of each router, why it may not have what was applied last (of the entries ``names``, if there are any);
        empty: it has."""
        with self._lock:
            unresolved = dict.fromkeys(self._names.unresolved(), "no address is known for this name")
            if not self._links:
                return unresolved or {"(all)": "not told yet"}
            untold = bool(self._pending if names is None else self._pending.keys() & set(names))
            told = {str(link): "not told yet" if untold else link.lacks(names) for link in self._counted()}
            return unresolved | told

    def in_flight(self) -> dict[EntryId, int]:
        """Requests that run on drained nodes, of all routers that answer and have told of the node."""
        totals: dict[EntryId, int] = {}
        with self._lock:
            parts = [link.session.in_flight() for link in self._links.values() if link.session.acks]
        for name in set().union(*parts):
            if all(name in part for part in parts):
                totals[name] = sum(part[name] for part in parts)
        return totals

    def packets(self) -> Counter[tuple[str, str]]:
        """Packets to all routers so far, by operation and result."""
        with self._lock:
            return sum((link.session.stats.packets for link in self._links.values()), self._past.copy())

    # Life

    def start(self) -> None:
        """Begin to announce, if that has not begun.

        The first :meth:`apply` does it: an announcer that began with nothing would withdraw every route of its source
        from the routers.
        """
        if self.started:
            return
        self._source = self._name_source()
        # A clock is only a first guess: a router that knows a higher instance says so and is outbid.
        self._instance = time.time_ns() // 1_000_000
        self._names.start()
        self._thread.start()
        self.started = True

    def close(self) -> None:
        """Stop and close every socket.  Nothing is withdrawn: routers keep what a controller announced."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._names.close()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        for link in self._links.values():
            link.close()
        self._links.clear()
        with self._lock:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    # What links ask of the loop

    def watch(self, sock: socket.socket, link: RouterLink, *, writing: bool) -> None:
        """Tell ``link`` when ``sock`` is readable (and writable, if ``writing``)."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        key = self._selector.get_map().get(sock)
        if key is None:
            self._selector.register(sock, events, link)
        elif key.events != events:
            self._selector.modify(sock, events, link)

    def forget(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""
        self._selector.unregister(sock)

    # The sending thread

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                now = time.monotonic()
                # In this order: a router that is met gets all of it.
                self._tell_changes(now)
                self._meet_routers(now)
                for link in list(self._links.values()):
                    if link.due <= now:
                        link.step(now)
                due = min((link.due for link in self._links.values()), default=now + RESOLVE_INTERVAL)
            self._wait(max(0.0, due - time.monotonic()))

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(min(seconds, RESOLVE_INTERVAL)):
            if key.data is None:
                os.read(self._wake_read, 4096)
            else:
                with self._lock:
                    key.data.ready(time.monotonic())

    def _tell_changes(self, now: float) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        gone = [told for id, told in pending.items() if told is not None and id not in self._entries]
        come = [entry for id, told in pending.items() if (entry := self._entries.get(id)) is not None and entry != told]
        for link in self._links.values():
            link.session.change(gone, come, now)

    def _counted(self) -> list[RouterLink]:
        """Those that are behind their names, and those that answer though they are not."""
        return [link for name, link in self._links.items() if name not in self._left or link.session.acks]

    def _meet_routers(self, now: float) -> None:
        wanted = set(self._names.targets())
        for name, link in [*self._links.items()]:
            if name in wanted:
                self._left.pop(name, None)
            elif link.session.boot and now < self._left.setdefault(name, now) + KEEP_ADDRESSES:
                continue
            else:
                log.info("router %s: no longer behind its name", link)
                self._forget(name)
        for router, target in sorted(wanted - self._links.keys(), key=str):
            prover = None if self._secret is None or isinstance(target, str) else Prover(self._secret)
            link = self._links[router, target] = RouterLink(
                str(router), target, self._session(target, now), self, prover, self._listener
            )
            link.session.change((), self._entries.values(), now)
            link.session.lose(self._lost, now)

    def _forget(self, name: tuple[Address, Target]) -> None:
        link = self._links.pop(name)
        self._left.pop(name, None)
        self._past.update(link.session.stats.packets)
        link.close()

    def _session(self, target: Target, now: float) -> RouterSession:
        limit, window = (UNIX_LIMIT, UNIX_WINDOW) if isinstance(target, str) else (UDP_LIMIT, UDP_WINDOW)
        limit -= PROOF_SIZE
        return RouterSession(
            self._source,
            self._instance,
            heartbeat=self._heartbeat,
            limit=limit,
            window=window,
            now=now,
            numbers=self._numbers,
        )

    def _on_names(self) -> None:
        with self._lock:
            if not self._stop.is_set():
                self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")
