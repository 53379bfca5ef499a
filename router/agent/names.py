"""Which addresses are behind the routers' names: looked up on a thread of its own, because a lookup may hang.

A name that does not resolve (yet, or just now) keeps what it had: an outage of the name server must not end a lease.
Who announces from a worker's side keeps it for ever, a controller for a while (``keep``).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from fastroute.router.address import Address

#: Seconds: INTERFACE.md, resolved again every 5 s; sooner while a name does not resolve or a router does not answer.
RESOLVE, RESOLVE_FAILED = 5.0, 1.0

log = logging.getLogger("fastroute.announce")

Target = tuple[str, int] | str


class Names:
    """``changed`` is called (on the thread) when :meth:`targets` has news; ``every``: seconds between lookups;
    ``keep``: seconds after which a name that does not resolve loses its addresses."""

    def __init__(
        self,
        routers: Sequence[Address],
        changed: Callable[[], None],
        *,
        every: float = RESOLVE,
        keep: float = float("inf"),
    ) -> None:
        self._routers, self._changed, self._every, self._keep = tuple(routers), changed, every, keep
        self._found: dict[Address, tuple[Target, ...]] = {one: _fixed(one) for one in routers if one.numeric}
        self._failing_since: dict[Address, float] = {}
        self._lock = threading.Lock()
        self._look = threading.Event()
        self._over = False

    def start(self) -> None:
        """Begin to look up, where there are names."""
        if not all(router.numeric for router in self._routers):
            threading.Thread(target=self._run, name="router-names", daemon=True).start()

    def targets(self) -> list[tuple[Address, Target]]:
        """Every address behind every router, with how it was written."""
        with self._lock:
            return [(router, target) for router in self._routers for target in self._found.get(router, ())]

    def unresolved(self) -> list[str]:
        """Routers with no address now, as they were written."""
        with self._lock:
            return [str(router) for router in self._routers if not self._found.get(router)]

    def doubt(self) -> None:
        """A router does not answer: its name may mean another address by now."""
        self._look.set()

    def close(self) -> None:
        """End the thread, once its lookup returns."""
        self._over = True
        self._look.set()

    def _run(self) -> None:
        names = [router for router in self._routers if not router.numeric]
        while not self._over:
            began = time.monotonic()
            failed = [name for name in names if not self._resolve(name)]
            if self._look.wait(RESOLVE_FAILED if failed else self._every) and not self._over:
                self._look.clear()
                # Failures may come in bursts: once a second is often enough.
                time.sleep(max(0.0, began + RESOLVE_FAILED - time.monotonic()))

    def _resolve(self, name: Address) -> bool:
        try:
            found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            now = time.monotonic()
            if name not in self._failing_since:
                self._failing_since[name] = now
                log.warning("router %s: does not resolve (%s); keeps trying", name, error.strerror or error)
            if now - self._failing_since[name] >= self._keep:
                self._is_now(name, ())
            return False
        if self._failing_since.pop(name, None) is not None:
            log.info("router %s: resolves", name)
        self._is_now(name, tuple(sorted({(str(one[4][0]), name.port) for one in found})))
        return True

    def _is_now(self, name: Address, targets: tuple[Target, ...]) -> None:
        with self._lock:
            news = self._found.get(name) != targets
            self._found[name] = targets
        if news and not self._over:
            self._changed()


def _fixed(router: Address) -> tuple[Target, ...]:
    if router.kind == "unix":
        return (router.path,)
    return ((router.host or "127.0.0.1", router.port),)
