"""Which addresses are behind the routers' names, by the one resolver (resolver.py).

A name that does not resolve (yet, or just now) keeps what it had: an outage of the name server must not end a lease.
An announcer beside a worker keeps it for ever, a controller for a while (``keep``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastroute.router.protocol.address import Address
from fastroute.router.runtime.resolver import LOOKUP_INTERVAL, Resolver

#: Seconds between look-ups of a name that does not resolve.
RESOLVE_FAILED = 1.0

Target = tuple[str, int] | str


class RouterNames:
    """The addresses behind the names of ``routers``.

    * ``changed`` is called, on a thread, when :meth:`targets` has changed.
    * ``every``: seconds between look-ups.
    * ``keep``: seconds after which a name that does not resolve loses its addresses.
    """

    def __init__(
        self,
        routers: Sequence[Address],
        changed: Callable[[], None],
        *,
        every: float = LOOKUP_INTERVAL,
        keep: float = float("inf"),
    ) -> None:
        self._routers = tuple(routers)
        self._resolver = Resolver(lambda _: changed(), every=every, retry=RESOLVE_FAILED, keep=keep, what="router ")

    def start(self) -> None:
        """Begin to look up, where there are names."""
        self._resolver.watch(router.host for router in self._routers if not router.numeric)

    def targets(self) -> list[tuple[Address, Target]]:
        """Every address behind every router, with how it was written."""
        return [(router, target) for router in self._routers for target in self._behind(router)]

    def unresolved(self) -> list[str]:
        """Routers with no address now, as they were written."""
        return [str(router) for router in self._routers if not self._behind(router)]

    def doubt(self) -> None:
        """A router does not answer: its name may mean another address by now."""
        self._resolver.doubt()

    def close(self) -> None:
        """Look up no more."""
        self._resolver.close()

    def _behind(self, router: Address) -> tuple[Target, ...]:
        if router.kind == "unix":
            return (router.path,)
        if router.numeric:
            return ((router.host or "127.0.0.1", router.port),)
        return tuple((ip, router.port) for ip in self._resolver.addresses(router.host))
