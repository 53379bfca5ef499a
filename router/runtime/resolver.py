"""Which addresses are behind host names: looked up at once, and again and again, for router, announcers and controller.

An edge (the system's resolver), on threads of its own: ``getaddrinfo`` can't be hurried, and may hang for half a
minute.

* Each name has its own look-up, and no name waits for another's: while one look-up runs there is always a thread that
  waits for the next name, ``MAX_THREADS`` in all.
* A name whose look-up took long counts as slow until it resolves quickly again; slow ones have ``MAX_SLOW`` of the
  threads, slow and new ones together ``MAX_UNSURE``: names that are known to be quick always find one.
* A look-up that fails, or hangs, keeps the last addresses; after ``keep`` seconds of that the name has none.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

#: A name is resolved again every 5 s (docs/reference/requests.md).  From one beginning to the next, with 1 s to spare.
LOOKUP_INTERVAL = 4.0
#: docs/reference/requests.md: a name that is gone for 30 s loses its addresses.
KEEP_ADDRESSES = 30.0
#: Seconds after which somebody's doubt in a name's addresses makes a difference; and between look-ups of a slow name.
SLOW_INTERVAL = 1.0
#: Seconds after which a look-up is slow.
SLOW_AFTER = 1.0
MAX_THREADS, MAX_UNSURE, MAX_SLOW = 64, 48, 24

#: What is known of a name's look-ups.
_QUICK, _NEW, _SLOW = range(3)

log = logging.getLogger("fastroute.resolver")


@dataclass(slots=True, eq=False)
class _Name:
    """One host name that is followed."""

    host: str
    #: When it is looked up next.
    due: float
    #: When the look-up began that runs; None: none runs.
    began: float | None = None
    #: Since when it does not resolve; None: it does.
    failing: float | None = None
    speed: int = _NEW
    #: Whether anybody was told its addresses.
    known: bool = False
    addresses: tuple[str, ...] = ()

    def given_up(self, keep: float) -> float:
        """When it loses its addresses if nothing changes; never, if it has none to lose."""
        since = self.failing if self.failing is not None else self.began
        return math.inf if since is None or (self.known and not self.addresses) else since + keep


class Resolver:
    """Follows the names given to :meth:`watch`.

    * ``changed``: called with a name whose addresses have changed, on a thread of the resolver's.
    * ``every``: seconds between look-ups; ``retry``: the same while a name fails.
    * ``keep``: seconds for which a name that does not resolve keeps its addresses.
    * ``what``: what such a name is, for the log.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        *,
        every: float = LOOKUP_INTERVAL,
        retry: float | None = None,
        keep: float = KEEP_ADDRESSES,
        what: str = "",
    ) -> None:
        self._changed, self._every, self._keep, self._what = changed, every, keep, what
        self._retry = every if retry is None else retry
        self._names: dict[str, _Name] = {}
        self._queue: list[tuple[float, int, _Name]] = []
        #: Slow and new names that are due and have no thread.
        self._parked: dict[int, deque[_Name]] = {_NEW: deque(), _SLOW: deque()}
        self._running: dict[_Name, None] = {}
        self._pushed = self._threads = self._idle = 0
        self._over = False
        self._condition = threading.Condition()

    def watch(self, hosts: Iterable[str]) -> None:
        """Follow these names and no others."""
        wanted = set(hosts)
        with self._condition:
            for host in self._names.keys() - wanted:
                del self._names[host]
            for host in wanted - self._names.keys():
                self._names[host] = name = _Name(host, time.monotonic())
                self._push(name)
            self._keep_watch()

    def addresses(self, host: str) -> tuple[str, ...]:
        """What ``host`` comes to now, in order; none if that is not known (yet, or any more)."""
        with self._condition:
            return name.addresses if (name := self._names.get(host)) is not None else ()

    def doubt(self) -> None:
        """A peer does not answer: names may mean other addresses by now.  May be called in bursts."""
        with self._condition:
            soon = time.monotonic() + min(SLOW_INTERVAL, self._retry)
            for name in self._names.values():
                if name.began is None and soon < name.due < math.inf:
                    name.due = soon
                    self._push(name)

    def close(self) -> None:
        """End, once the look-ups that run return."""
        with self._condition:
            self._over = True
            self._names.clear()
            self._condition.notify_all()

    # Under the lock.

    def _push(self, name: _Name) -> None:
        self._pushed += 1
        heappush(self._queue, (name.due, self._pushed, name))
        self._condition.notify()

    def _keep_watch(self) -> None:
        """See that a thread waits for the next name."""
        if not self._idle and self._queue and self._threads < MAX_THREADS and not self._over:
            # Where the system gives no further thread the others do it.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._work, name="resolver", daemon=True).start()
                self._threads += 1

    def _due(self, now: float) -> _Name | None:
        """The next name to look up."""
        slow = sum(name.speed == _SLOW or (name.began or now) + SLOW_AFTER <= now for name in self._running)
        new = sum(name.speed == _NEW and (name.began or now) + SLOW_AFTER > now for name in self._running)
        room = {_QUICK: True, _NEW: slow + new < MAX_UNSURE, _SLOW: slow < MAX_SLOW and slow + new < MAX_UNSURE}
        for speed, parked in self._parked.items():
            while parked and room[speed]:
                if (name := parked.popleft()).began is None and self._names.get(name.host) is name:
                    return name
        while self._queue and self._queue[0][0] <= now:
            due, _, name = heappop(self._queue)
            if name.began is not None or name.due != due or self._names.get(name.host) is not name:
                continue
            if room[name.speed]:
                return name
            name.due = math.inf
            self._parked[name.speed].append(name)
        return None

    def _wait(self) -> Callable[[], None] | None:
        """What this thread does next; None: nothing, for ever."""
        while not self._over:
            now = time.monotonic()
            if (name := self._due(now)) is not None:
                name.began = now
                self._running[name] = None
                self._keep_watch()
                return partial(self._look_up, name, now)
            for name in self._running:
                if name.given_up(self._keep) <= now:
                    self._give_up(name)
                    return partial(self._changed, name.host)
            if self._idle:
                return None
            wakes = [name.given_up(self._keep) for name in self._running]
            wakes += [self._queue[0][0]] if self._queue else []
            self._idle += 1
            self._condition.wait(max(0.0, min(wakes) - now) if wakes and min(wakes) < math.inf else None)
            self._idle -= 1
        return None

    def _give_up(self, name: _Name) -> None:
        name.addresses, name.known = (), True

    # On a thread.

    def _work(self) -> None:
        while True:
            with self._condition:
                job = self._wait()
                if job is None:
                    self._threads -= 1
                    return
            job()

    def _look_up(self, name: _Name, began: float) -> None:
        result: tuple[str, ...] | OSError
        try:
            rows = socket.getaddrinfo(name.host, None, type=socket.SOCK_STREAM)
            result = tuple(sorted({str(row[4][0]) for row in rows}))
        except (OSError, UnicodeError) as error:
            result = error if isinstance(error, OSError) else OSError(str(error))
        now = time.monotonic()
        with self._condition:
            news = self._found(name, result, began, now) and not self._over
            failed = isinstance(result, OSError)
            name.began = None
            if now - began >= SLOW_AFTER:
                name.speed = _SLOW
            elif not failed:
                name.speed = _QUICK
            pause = self._retry if failed else self._every
            name.due = max(began + pause, now + min(SLOW_INTERVAL, pause) if name.speed == _SLOW else now)
            self._running.pop(name)
            self._push(name)
        if news:
            self._changed(name.host)

    def _found(self, name: _Name, result: tuple[str, ...] | OSError, began: float, now: float) -> bool:
        """Store the result of a look-up; True when the addresses have changed."""
        if self._names.get(name.host) is not name:
            return False
        if isinstance(result, OSError):
            if name.failing is None:
                name.failing = began
                stay = f"its last addresses stay for {self._keep:g} s" if self._keep < math.inf else "keeps trying"
                log.warning("%s%s does not resolve (%s): %s", self._what, name.host, result.strerror or result, stay)
            if name.given_up(self._keep) > now:
                return False
            self._give_up(name)
            return True
        if name.failing is not None:
            name.failing = None
            log.info("%s%s resolves again", self._what, name.host)
        news = not name.known or result != name.addresses
        name.addresses, name.known = result, True
        return news
