"""Which addresses are behind the routers' names: looked up on a thread of its own, because a lookup may hang.

A name that does not resolve (yet, or just now) keeps what it had: an outage of the name server must not end a lease.
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
    """``changed`` is called (on the thread) when :meth:`targets` has news."""

    def __init__(self, routers: Sequence[Address], changed: Callable[[], None]) -> None:
        self._routers, self._changed = tuple(routers), changed
        self._found: dict[Address, tuple[Target, ...]] = {one: _fixed(one) for one in routers if one.numeric}
        self._said: set[Address] = set()
        self._lock = threading.Lock()
        self._look = threading.Event()
        self._over = False
        if not all(router.numeric for router in routers):
            threading.Thread(target=self._run, name="router-names", daemon=True).start()

    def targets(self) -> list[tuple[Address, Target]]:
        """Every address behind every router, with how it was written."""
        with self._lock:
            return [(router, target) for router in self._routers for target in self._found.get(router, ())]

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
            self._look.wait(RESOLVE_FAILED if failed else RESOLVE)
            self._look.clear()
            # Failures may come in bursts: once a second is often enough.
            time.sleep(0 if self._over else max(0.0, began + RESOLVE_FAILED - time.monotonic()))

    def _resolve(self, name: Address) -> bool:
        try:
            found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            if name not in self._said:
                self._said.add(name)
                log.warning("router %s: does not resolve (%s); keeps trying", name, error.strerror or error)
            return False
        if name in self._said:
            self._said.discard(name)
            log.info("router %s: resolves", name)
        targets: tuple[Target, ...] = tuple(sorted({(str(one[4][0]), name.port) for one in found}))
        with self._lock:
            news = self._found.get(name) != targets
            self._found[name] = targets
        if news and not self._over:
            self._changed()
        return True


def _fixed(router: Address) -> tuple[Target, ...]:
    if router.kind == "unix":
        return (router.path,)
    return ((router.host or "127.0.0.1", router.port),)
