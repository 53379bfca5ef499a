"""One worker as seen from beside it: announced while it accepts connections, at the address that its pattern finds.

:meth:`WatchedWorker.step` never blocks: what may block (a probe) runs on a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from fastroute.router.protocol.key import example_host
from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.sidecar import probe
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.listening import listener, listeners, unix_listener
from fastroute.router.sidecar.pattern import Pattern

#: Seconds between looks whether the worker still listens on this machine.
LISTEN_CHECK_INTERVAL = 0.5
#: Seconds between connects to a worker on another machine.
CONNECT_CHECK_INTERVAL = 2.0
#: Seconds between looks whether the pattern still finds the same address.
ADDRESS_CHECK_INTERVAL = 5.0
#: Seconds until the log says that a worker is not announced yet, and between repetitions.
FIRST_WARNING_DELAY, WARNING_INTERVAL = 10.0, 60.0

log = logging.getLogger("fastroute.announce")


class WatchedWorker:
    """Watches one worker and has its node announced or withdrawn.

    * ``port`` replaces a pattern's port 0.
    * ``check`` is ``tcp``, ``none`` or the path of a GET.
    """

    def __init__(
        self,
        announcer: WorkerAnnouncer,
        node: AnnouncedNode,
        pattern: Pattern,
        port: int,
        check: str,
        protocol: str = "uwsgi",
    ) -> None:
        self.node = node
        #: It accepts connections, so it is announced.
        self.accepts = False
        self._announcer, self._pattern, self._port, self._check = announcer, pattern, port, check
        host = example_host(node.entries[0].key)
        self._packet = probe.request(check, protocol, host) if check not in ("tcp", "none") else b""
        self._probing: probe.ProbeThread | None = None
        #: The last probe succeeded.
        self._reachable = threading.Event()
        #: It does not listen on this machine.
        self._remote = False
        self._host = ""
        self._next_check = self._next_address_check = self._next_warning = 0.0
        self._stopped = False

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do; a probe that succeeds wakes the announcer."""
        return min(self._next_check, self._next_warning) if not self._stopped else float("inf")

    @property
    def waits_for(self) -> str:
        """Why it is not announced, as the last probe found."""
        return self._probing.problem if self._probing is not None else ""

    def start(self, now: float) -> None:
        """Begin to probe it."""
        self._next_warning, self._next_check = now + FIRST_WARNING_DELAY, now
        if self._check == "none":
            self._reachable.set()
        else:
            self._reachable.clear()
            self._probing = probe.ProbeThread(self._attempt, self._succeeded)

    def stop(self, now: float) -> None:
        """It is about to end, or has ended: withdraw it for good."""
        self._stopped = True
        self._end_probe()
        self.accepts = False
        self._announcer.leave(self.node, now)

    def step(self, now: float) -> None:
        """Do the checks that are due."""
        if self._stopped:
            return
        if self.accepts:
            if now >= self._next_check:
                self._check_listening(now)
            if self.accepts and now >= self._next_address_check:
                self._check_address(now)
        elif self._reachable.is_set():
            self._join(now)
        else:
            self._next_check = now + ADDRESS_CHECK_INTERVAL
        if not self.accepts and now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL
            log.warning("%s: not announced yet: %s", self.node.name, self.waits_for or self._no_interface)
        elif self.accepts:
            self._next_warning = float("inf")

    # Inside

    @property
    def _no_interface(self) -> str:
        return f"no interface has an address or a name like {self._pattern.host}"

    def _find_host(self) -> str | None:
        return self._pattern.host_among(interface_addresses() if self._pattern.host else ())

    def _target(self) -> tuple[str, int] | str | None:
        """Where to connect to; None: there is no address now."""
        if self._pattern.path:
            path = self._pattern.path
            return "\0" + path[1:] if path.startswith("@") else path
        host = self._find_host()
        if host is None:
            return None
        if not host:
            host = listener(self._port, (), listeners())
        return (host, self._port) if host else None

    def _attempt(self) -> str:
        """One attempt, on the probe's thread."""
        try:
            target = self._target()
            if target is None:
                return f"nothing listens on port {self._port}" if not self._pattern.host else self._no_interface
            return probe.attempt(target, self._packet, self._check)
        except OSError as error:
            return error.strerror or str(error)

    def _succeeded(self) -> None:
        self._reachable.set()
        self._announcer.wake()

    def _end_probe(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    def _join(self, now: float) -> None:
        host = self._find_host()
        self._next_check = now + LISTEN_CHECK_INTERVAL
        if host is None:
            return
        self._end_probe()
        self.accepts, self._next_address_check = True, now + ADDRESS_CHECK_INTERVAL
        self._host = host
        self._remote = self._check != "none" and not self._listens(host)
        self._announcer.join(self.node, self._pattern.address(host, self._port), now)

    def _check_listening(self, now: float) -> None:
        self._next_check = now + (CONNECT_CHECK_INTERVAL if self._remote else LISTEN_CHECK_INTERVAL)
        if self._check == "none":
            self._next_check = now + ADDRESS_CHECK_INTERVAL
            return
        if self._remote:
            threading.Thread(target=self._connect, name="probe", daemon=True).start()
            listens = self._reachable.is_set()
        else:
            listens = self._listens(self._host)
        if not listens:
            log.warning("%s: no longer accepts connections: withdrawn until it does", self.node.name)
            self.accepts = False
            self._announcer.leave(self.node, now)
            self.start(now)

    def _check_address(self, now: float) -> None:
        """Its address may have changed: another DHCP lease, another network."""
        self._next_address_check = now + ADDRESS_CHECK_INTERVAL
        host = self._find_host()
        if host is not None:
            self._host = host
            address = self._pattern.address(host, self._port)
            if address != self.node.address:
                log.info("%s: %s is now %s", self.node.name, self.node.address, address)
                self._announcer.join(self.node, address, now)

    def _listens(self, host: str) -> bool:
        if self._pattern.path:
            return unix_listener(self._pattern.path)
        return bool(listener(self._port, (host,) if host else (), listeners()))

    def _connect(self) -> None:
        """Connect once to a worker on another machine."""
        problem = "no address"
        with suppress(OSError):
            target = self._target()
            problem = probe.attempt(target, b"", "") if target is not None else problem
        if problem:
            self._reachable.clear()
            self._announcer.wake()
        else:
            self._reachable.set()
