"""The sink that tells routers: one thread with all their sockets, and one that looks up their names.

What is said to each router is decided in :mod:`.delivery`; how it gets there, in :mod:`.router_link`.  Here: which
routers there are.  Every address behind a name is a router of its own, with its own delivery.  A name lookup may hang
for seconds, so it happens in a thread that does nothing else and never keeps a withdrawal waiting.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence

from fastroute.controller.announce.delivery import Delivery
from fastroute.controller.announce.inflight import Ident
from fastroute.controller.announce.router_link import (
    NOBODY,
    UDP_LIMIT,
    UDP_WINDOW,
    UNIX_LIMIT,
    UNIX_WINDOW,
    Link,
    Witness,
)
from fastroute.controller.desired import Desired
from fastroute.router.address import Address, AddressError
from fastroute.router.proof import PROOF_SIZE, Prover
from fastroute.router.subscription import Entry

#: INTERFACE.md: a name is resolved again at least every 5 s; sooner while it does not resolve.
RESOLVE = 4.0
RESOLVE_FAILED = 1.0
#: A name that does not resolve keeps its last addresses this long (seconds).
KEEP_ADDRESSES = 30.0

log = logging.getLogger("fastroute.controller.announce.announcer")

Target = tuple[str, int] | str


class Announcer:
    """A :class:`~fastroute.controller.desired.Sink`: makes every router behind ``routers`` hold the desired state.

    ``source`` is the controller's stable name; ``heartbeat`` is in seconds; ``secret`` proves what is said by UDP (who
    can write to a unix socket needs no proof).
    """

    def __init__(
        self,
        routers: Sequence[Address],
        source: str,
        heartbeat: float,
        secret: bytes | None = None,
        witness: Witness = NOBODY,
    ) -> None:
        for router in routers:
            if router.kind == "fd" or (router.kind == "unix" and router.path.startswith("@")):
                raise AddressError(f"router {str(router)!r}: host:port (UDP) or a socket path expected")
        self._routers, self._source, self._heartbeat = tuple(routers), source, heartbeat
        self._secret, self._witness = secret, witness
        self._past: Counter[tuple[str, str]] = Counter()
        # A clock is only a first guess: a router that knows a higher instance says so and is outbid.
        self._instance = time.time_ns() // 1_000_000
        self._lock = threading.Lock()
        self._desired: dict[Ident, Entry] = {}
        self._told: dict[Ident, Entry] = {}
        self._found: dict[Address, tuple[Target, ...]] = {one: _fixed_targets(one) for one in routers if one.numeric}
        self._links: dict[tuple[Address, Target], Link] = {}
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._threads = [threading.Thread(target=self._run, name="announcer", daemon=True)]
        if not all(router.numeric for router in routers):
            self._threads.append(threading.Thread(target=self._resolve, name="router-names", daemon=True))

    # The sink

    def apply(self, desired: Desired) -> None:
        """Make ``desired`` (the whole of it) what every router holds.  Never blocks."""
        entries = {name: route.entry for name, route in desired.items()}
        with self._lock:
            self._desired = entries
        self._wake()

    def status(self) -> dict[str, object]:
        """Each router address: acked or original, its boot id, what is pending, requests on withdrawn nodes."""
        now = time.monotonic()
        with self._lock:
            links = [link.status(now) for link in self._links.values()]
            unresolved = [str(router) for router in self._routers if not self._found.get(router)]
        return {"source": self._source, "routers": links, "unresolved": unresolved}

    def in_flight(self) -> dict[Ident, int]:
        """Requests that run on drained nodes, of all routers that answer and have told of the node."""
        found: dict[Ident, int] = {}
        with self._lock:
            parts = [link.delivery.in_flight() for link in self._links.values() if link.delivery.acks]
        for name in set().union(*parts):
            if all(name in part for part in parts):
                found[name] = sum(part[name] for part in parts)
        return found

    def packets(self) -> Counter[tuple[str, str]]:
        """Packets to all routers so far, by operation and result."""
        with self._lock:
            return sum((link.delivery.tally.packets for link in self._links.values()), self._past.copy())

    # Life

    def start(self) -> None:
        """Begin to announce."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop, and give up every socket.  Nothing is withdrawn: routers keep what a controller told them."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake()
        if self._threads[0].ident is not None:
            self._threads[0].join()
        for link in self._links.values():
            link.close()
        self._links.clear()
        with self._lock:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    # What links ask of the loop

    def watch(self, sock: socket.socket, link: Link, *, writing: bool) -> None:
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
                self._meet_routers(now)
                self._tell_changes(now)
                for link in list(self._links.values()):
                    if link.due <= now:
                        link.step(now)
                due = min((link.due for link in self._links.values()), default=now + RESOLVE)
            self._wait(max(0.0, due - time.monotonic()))

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(min(seconds, RESOLVE)):
            if key.data is None:
                os.read(self._wake_read, 4096)
            else:
                with self._lock:
                    key.data.ready(time.monotonic())

    def _tell_changes(self, now: float) -> None:
        desired, told = self._desired, self._told
        if desired is told:
            return
        gone = [entry for name, entry in told.items() if name not in desired]
        # What stayed is the same object; comparing thousands of equal ones field by field would hold up a removal.
        come = [entry for name, entry in desired.items() if (known := told.get(name)) is not entry and known != entry]
        self._told = desired
        for link in self._links.values():
            link.delivery.change(gone, come, now)

    def _meet_routers(self, now: float) -> None:
        wanted = {(router, target) for router, targets in self._found.items() for target in targets}
        for name in [name for name in self._links if name not in wanted]:
            log.info("router %s: no longer behind its name", self._links[name])
            link = self._links.pop(name)
            self._past.update(link.delivery.tally.packets)
            link.close()
        for router, target in sorted(wanted - self._links.keys(), key=str):
            prover = None if self._secret is None or isinstance(target, str) else Prover(self._secret)
            link = self._links[router, target] = Link(
                str(router), target, self._delivery(target, now), self, prover, self._witness
            )
            link.delivery.change((), self._told.values(), now)

    def _delivery(self, target: Target, now: float) -> Delivery:
        limit, window = (UNIX_LIMIT, UNIX_WINDOW) if isinstance(target, str) else (UDP_LIMIT, UDP_WINDOW)
        limit -= PROOF_SIZE
        return Delivery(self._source, self._instance, heartbeat=self._heartbeat, limit=limit, window=window, now=now)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    # The thread that looks up names

    def _resolve(self) -> None:
        since: dict[Address, float] = {}
        names = [router for router in self._routers if not router.numeric]
        while not self._stop.is_set():
            failed = [name for name in names if not self._resolve_one(name, since)]
            self._stop.wait(RESOLVE_FAILED if failed else RESOLVE)

    def _resolve_one(self, name: Address, failing_since: dict[Address, float]) -> bool:
        try:
            found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            now = time.monotonic()
            if name not in failing_since:
                failing_since[name] = now
                log.warning("router %s: does not resolve (%s); keeps trying", name, error)
            if now - failing_since[name] >= KEEP_ADDRESSES:
                self._set_found(name, ())
            return False
        if failing_since.pop(name, None) is not None:
            log.info("router %s: resolves again", name)
        self._set_found(name, tuple(sorted({(str(one[4][0]), name.port) for one in found})))
        return True

    def _set_found(self, name: Address, targets: tuple[Target, ...]) -> None:
        with self._lock:
            if self._stop.is_set() or self._found.get(name) == targets:
                return
            self._found[name] = targets
            self._wake()


def _fixed_targets(router: Address) -> tuple[Target, ...]:
    if router.kind == "unix":
        return (router.path,)
    return ((router.host or "127.0.0.1", router.port),)
