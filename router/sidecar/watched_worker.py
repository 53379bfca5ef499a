"""One worker as seen from beside it: announced while it accepts connections, at the address that its pattern finds now.

Steps of its loop never block: what may (a probe) has a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from fastroute.router.key import example_host
from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.sidecar import probe
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.listening import listener, listeners, unix_listener
from fastroute.router.sidecar.pattern import Pattern

#: Seconds between looks whether it still listens; connecting to one elsewhere; whether its address is still the same.
LOOK, CONNECT, PATTERN = 0.5, 2.0, 5.0
#: Seconds of waiting for it until we say so, and between repetitions.
SAY_WAITING, SAY_AGAIN = 10.0, 60.0

log = logging.getLogger("fastroute.announce")


class WatchedWorker:
    """``port`` replaces a pattern's port 0; ``check`` is ``tcp``, ``none`` or the path of a GET."""

    def __init__(
        self,
        announcer: WorkerAnnouncer,
        node: AnnouncedNode,
        pattern: Pattern,
        port: int,
        check: str,
        protocol: str = "uwsgi",
    ) -> None:
        self.node, self.accepts = node, False
        self._announcer, self._pattern, self._port, self._check = announcer, pattern, port, check
        host = example_host(node.entries[0].key)
        self._packet = probe.request(check, protocol, host) if check not in ("tcp", "none") else b""
        self._probing: probe.ProbeThread | None = None
        self._found = threading.Event()
        self._elsewhere, self._reached = False, ""
        self._next_look = self._next_pattern = self._say_at = 0.0
        self._over = False

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do; a probe that succeeds wakes the announcer."""
        return min(self._next_look, self._say_at) if not self._over else float("inf")

    @property
    def waits_for(self) -> str:
        """Why it is not announced, as the last probe saw it."""
        return self._probing.problem if self._probing is not None else ""

    def start(self, now: float) -> None:
        """Begin to look for it."""
        self._say_at, self._next_look = now + SAY_WAITING, now
        if self._check == "none":
            self._found.set()
        else:
            self._found.clear()
            self._probing = probe.ProbeThread(self._attempt, self._succeeded)

    def stop(self, now: float) -> None:
        """It is about to end, or has: withdraw it for good."""
        self._over = True
        self._end_probe()
        self.accepts = False
        self._announcer.leave(self.node, now)

    def step(self, now: float) -> None:
        """See what has changed."""
        if self._over:
            return
        if self.accepts:
            if now >= self._next_look:
                self._look(now)
            if self.accepts and now >= self._next_pattern:
                self._follow(now)
        elif self._found.is_set():
            self._join(now)
        else:
            self._next_look = now + PATTERN
        if not self.accepts and now >= self._say_at:
            self._say_at = now + SAY_AGAIN
            log.warning("%s: not announced yet: %s", self.node.name, self.waits_for or self._nowhere)
        elif self.accepts:
            self._say_at = float("inf")

    # Inside

    @property
    def _nowhere(self) -> str:
        return f"no interface has an address or a name like {self._pattern.host}"

    def _host(self) -> str | None:
        return self._pattern.host_among(interface_addresses() if self._pattern.host else ())

    def _target(self) -> tuple[str, int] | str | None:
        """Where to connect to; None: nowhere now."""
        if self._pattern.path:
            path = self._pattern.path
            return "\0" + path[1:] if path.startswith("@") else path
        host = self._host()
        if host is None:
            return None
        if not host:
            host = listener(self._port, (), listeners())
        return (host, self._port) if host else None

    def _attempt(self) -> str:
        """For the probe's thread."""
        try:
            target = self._target()
            if target is None:
                return f"nobody listens on port {self._port}" if not self._pattern.host else self._nowhere
            return probe.attempt(target, self._packet, self._check)
        except OSError as error:
            return error.strerror or str(error)

    def _succeeded(self) -> None:
        self._found.set()
        self._announcer.wake()

    def _end_probe(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    def _join(self, now: float) -> None:
        host = self._host()
        self._next_look = now + LOOK
        if host is None:
            return
        self._end_probe()
        self.accepts, self._next_pattern = True, now + PATTERN
        self._reached = host
        self._elsewhere = self._check != "none" and not self._listens(host)
        self._announcer.join(self.node, self._pattern.address(host, self._port), now)

    def _look(self, now: float) -> None:
        self._next_look = now + (CONNECT if self._elsewhere else LOOK)
        if self._check == "none":
            self._next_look = now + PATTERN
            return
        if self._elsewhere:
            threading.Thread(target=self._connect, name="probe", daemon=True).start()
            here = self._found.is_set()
        else:
            here = self._listens(self._reached)
        if not here:
            log.warning("%s: no longer accepts connections: withdrawn until it does", self.node.name)
            self.accepts = False
            self._announcer.leave(self.node, now)
            self.start(now)

    def _follow(self, now: float) -> None:
        """Its address may have changed: another lease, another network."""
        self._next_pattern = now + PATTERN
        host = self._host()
        if host is not None:
            self._reached = host
            address = self._pattern.address(host, self._port)
            if address != self.node.address:
                log.info("%s: %s is now %s", self.node.name, self.node.address, address)
                self._announcer.join(self.node, address, now)

    def _listens(self, host: str) -> bool:
        if self._pattern.path:
            return unix_listener(self._pattern.path)
        return bool(listener(self._port, (host,) if host else (), listeners()))

    def _connect(self) -> None:
        """One look at a worker on another machine."""
        problem = "nowhere"
        with suppress(OSError):
            target = self._target()
            problem = probe.attempt(target, b"", "") if target is not None else problem
        if problem:
            self._found.clear()
            self._announcer.wake()
        else:
            self._found.set()
