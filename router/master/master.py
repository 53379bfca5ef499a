"""The master: holds every listening descriptor, starts control and relays, restarts what dies.  PID 1 in a container.

Rules: no protocol code, nothing here depends on what clients send; it sleeps but for signals, its children's words and
another router at the door in ``--run-dir``.  The listening queue just waits while a child is replaced.  The lifeline
pipe ends all children if the master is killed.

SIGTERM, SIGINT: relays finish what is in flight (``--drain-timeout``), control answers until they are gone.  A second
one ends everything at once.  SIGHUP reads FILE again: a new generation of children starts beside the old one, and
takes over when all of it serves (``generation.py``); if it does not come to that, nothing changed.  A new router with
the same ``--run-dir`` takes over in the same steps (``handover.py``); SIGUSR2 starts one.  SIGUSR1 goes to the relays
(access log).
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import fields, replace

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.settings import Settings
from fastroute.router.master.child_process import ended
from fastroute.router.master.children import ChildProcesses
from fastroute.router.master.generation import FIXED, Generation, SharedResources
from fastroute.router.master.handover import HandoverState, take_over
from fastroute.router.master.handover_client import HandoverClient
from fastroute.router.master.handover_server import HandoverServer, start_successor
from fastroute.router.master.runtime_files import RuntimeFiles
from fastroute.router.master.sockets import open_patiently, open_sockets
from fastroute.router.master.supervisor_handle import SupervisorHandle
from fastroute.router.master.watchdog import Watchdog
from fastroute.router.runtime import listen, logs
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier

#: Past the drain time-out relays end by themselves; this much later they are killed.
KILL_AFTER = 2.0
#: What workers of our own are given to end, and the supervisor to kill those that don't (supervisor.STOP_TIMEOUT).
WORKERS_END = 12.0
#: A new generation that does not serve by then is given up.  Starting takes under a second on an idle machine.
START_TIMEOUT = 30.0

log = get_logger("fastroute.master")


class Master:
    """Everything that outlives a child.  ``reread`` gives the settings anew, or ``ConfigurationError``."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        self._reread = reread
        self._lifeline, self._our_end = os.pipe()
        self._words, words_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._draining_since: float | None = None
        self._next_deadline = 0.0
        self._asked = self._again = False
        self._notifier = Notifier(os.environ)
        self._watchdog = Watchdog(self._notifier)
        taken = take_over(settings.run_dir) if settings.run_dir else None
        self._taker = HandoverClient(*taken) if taken is not None else None
        estate = taken[1] if taken is not None else HandoverState()
        state = estate.state or [os.memfd_create(f"fastroute-state-{index}") for index in range(2)]
        self._common = SharedResources(
            self._lifeline, words_end, state, estate.relays, SupervisorHandle(self._lifeline), self._notifier.watchdog
        )
        sockets = open_patiently(settings, estate.sockets)
        try:
            self._giver = HandoverServer(settings.run_dir, estate.door)
            self._place = RuntimeFiles(settings, sockets)
        except BaseException:
            sockets.close_but(estate.sockets)
            raise
        self._first = Generation(settings, sockets, self._common)
        before = Generation(settings, estate.sockets, self._common, elsewhere=True)
        self._family = ChildProcesses(before if self._taker is not None else self._first, self._common, self._words)

    def run(self) -> int:
        """Until a signal ends it.  Returns the exit code."""
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(wanted, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write)
        if self._taker is not None:
            log.info("taking over from the router with pid %d", self._taker.pid)
            self._begin(self._first)
        else:
            for child in self._first.children:
                child.start(time.monotonic())
            self._place.take()
        while True:
            readable = self._wait()
            for number in self._signals():
                if number == signal.SIGUSR1:
                    for relay in self._family.relays:
                        relay.signal(signal.SIGUSR1)
                elif number == signal.SIGUSR2 and self._draining_since is None:
                    start_successor(self._family.current.settings.run_dir, self._notifier)
                elif number == signal.SIGHUP:
                    self._reload()
                elif number in (signal.SIGTERM, signal.SIGINT) and self._stop():
                    return self._end(1)
            self._family.hear()
            self._family.reap()
            if self._taker is not None and not self._take(readable):
                return self._end(1)
            self._advance()
            self._give(readable)
            if self._draining_since is None:
                self._watchdog.show(self._family.current)
            elif self._drained():
                return self._end(0)
            self._family.restart(time.monotonic())

    def _wait(self) -> list[int]:
        """The descriptors that are readable once there is something to do."""
        family, watched = self._family, [self._wakeup_read, self._words]
        waits = family.restarts_at()
        if self._draining_since is None:
            waits += [due for due in (self._watchdog.due,) if due < math.inf]
        else:
            waits.append(self._draining_since + family.current.settings.drain_timeout + KILL_AFTER)
        if family.next is not None:
            waits.append(self._next_deadline)
        if self._taker is not None:
            watched += [fd for fd in (self._taker.fileno(),) if fd >= 0]
        if self._giver.talk is not None:
            watched.append(self._giver.talk.fileno())
            waits.append(self._giver.deadline)
        elif self._giver.door is not None and family.current.ready and family.next is None:
            watched.append(self._giver.door.socket.fileno())
        timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
        return select.select(watched, [], [], timeout)[0]

    def _signals(self) -> list[int]:
        try:
            return list(os.read(self._wakeup_read, 4096))
        except BlockingIOError:
            return []

    # A new generation.

    def _reload(self) -> None:
        """Read the configuration again and start what it asks for."""
        family = self._family
        if self._draining_since is not None:
            return
        if family.next is not None or self._giver.talk is not None:
            self._again = True
            return
        self._notifier.reloading()
        try:
            settings = self._keep_fixed(self._reread())
            sockets = open_sockets(settings, family.current.sockets)
        except (ConfigurationError, listen.ListenError) as error:
            self._not_reloaded(str(error))
            return
        self._begin(Generation(settings, sockets, self._common, family.current))

    def _keep_fixed(self, wanted: Settings) -> Settings:
        """``wanted``, but for what a process has for life."""
        have = {name: getattr(self._family.current.settings, name) for name in FIXED}
        changed = [name.replace("_", "-") for name, value in have.items() if getattr(wanted, name) != value]
        if changed:
            log.warning("%s: changes only with a restart; stays as it was", ", ".join(changed))
        return replace(wanted, **have)

    def _begin(self, generation: Generation) -> None:
        self._next_deadline, self._asked = time.monotonic() + START_TIMEOUT, False
        self._family.begin(generation)

    def _advance(self) -> None:
        """Take the next generation one step further."""
        family = self._family
        if family.next is None or self._taker is not None:
            return
        if time.monotonic() >= self._next_deadline:
            family.failure = family.failure or f"it does not serve within {START_TIMEOUT:g} s"
        if family.failure:
            self._abandon(family.failure)
        elif family.next.ready:
            self._commit()
        elif family.next.stands_by and not self._asked:
            self._asked = True
            family.let_go()

    def _commit(self) -> None:
        old, new = self._family.commit(), self._family.current
        old.sockets.close_but(new.sockets)
        self._common.workers.reload(new.settings)
        logs.set_up(new.settings.log_format, new.settings.log_level)
        changed = [one.name.replace("_", "-") for one in fields(Settings)
                   if getattr(old.settings, one.name) != getattr(new.settings, one.name)]  # fmt: skip
        log.info("reloaded: %s", ", ".join(changed) if changed else "no option changed")
        self._notifier.ready(f"serves on {', '.join(new.bound)}")
        self._catch_up()

    def _not_reloaded(self, why: str) -> None:
        log.error("not reloaded: %s; everything stays as it was", why)
        self._notifier.ready(f"not reloaded: {why}")

    def _abandon(self, why: str) -> None:
        self._not_reloaded(why)
        self._family.abandon().sockets.close_but(self._family.current.sockets)
        self._catch_up()

    def _catch_up(self) -> None:
        """Do the reload that had to wait."""
        if self._again:
            self._again = False
            self._reload()

    # From one router to another.

    def _take(self, readable: list[int]) -> bool:
        """Take the other's place one step further; False: it keeps it."""
        family, taker = self._family, self._taker
        assert taker is not None
        answer = taker.hear() if taker.fileno() in readable else ""
        if time.monotonic() >= self._next_deadline:
            family.failure = family.failure or f"this one does not serve within {START_TIMEOUT:g} s"
        if answer == "refused" or family.failure:
            why = taker.why or family.failure
            log.error("did not take over: %s; the router with pid %d goes on", why, taker.pid)
            return False
        assert family.next is not None
        if answer == "yours" or (family.next.ready and taker.ready() == "yours"):
            self._taker = None
            taker.close()
            old = family.commit()
            old.sockets.close_but(family.current.sockets)
            self._place.take()
            self._catch_up()
        elif family.next.stands_by and not self._asked:
            self._asked = True
            taker.standby()
        return True

    def _give(self, readable: list[int]) -> None:
        """Give our place away one step further."""
        event, family, giver = self._giver.step(readable), self._family, self._giver
        if event == "hello" and giver.talk is not None:
            relays = [*(relay.channel.ours for relay in family.relays), *self._common.foreign]
            log.info("the router with pid %d (version %s) wants to take over", giver.talk.pid, giver.version)
            alive = [fd for fd in relays if not ended(fd)]
            if not giver.talk.offer(HandoverState(family.current.sockets, giver.door, self._common.state_fds, alive)):
                giver.hang_up()
        elif event == "standby":
            family.let_go()
        elif event == "ready" and giver.talk is not None and giver.talk.say(word="yours"):
            self._leave()
        elif event in ("ready", "gone"):
            giver.hang_up()
            log.warning("nobody took over; this router goes on")
            family.take_back()
            self._catch_up()

    def _leave(self) -> None:
        """The other serves: finish what we have."""
        assert self._giver.talk is not None
        log.info("handed over to the router with pid %d", self._giver.talk.pid)
        self._notifier.successor(self._giver.talk.pid)
        self._place.leave()
        self._giver.close(remove=False)
        self._family.leave()
        listen.close(self._family.current.sockets)
        self._drain()

    # The end.

    def _stop(self) -> bool:
        """Begin to drain; True when there is nothing to wait for: end at once."""
        if self._draining_since is not None:
            log.warning("second signal: ending at once")
            return True
        if self._taker is not None:
            return True
        self._again = False
        if self._family.next is not None:
            self._abandon("the router ends")
        self._giver.refuse("it ends")
        self._family.take_back()
        self._giver.close(remove=True)
        self._notifier.stopping()
        self._family.current.control.signal(signal.SIGTERM)
        # Paths first: who is in the queue then is served, and nobody comes between the last look there and its end.
        listen.remove_paths(self._family.current.sockets.front)
        listen.close(self._family.current.sockets.front)
        self._drain()
        return False

    def _drain(self) -> None:
        self._draining_since, self._family.draining = time.monotonic(), True
        log.info("draining for up to %g s", self._family.current.settings.drain_timeout)
        for relay in self._family.relays:
            relay.signal(signal.SIGTERM)

    def _drained(self) -> bool:
        assert self._draining_since is not None
        time_out = self._family.current.settings.drain_timeout + KILL_AFTER
        over = time.monotonic() - self._draining_since >= time_out
        return over or not any(relay.pid for relay in self._family.relays)

    def _end(self, code: int) -> int:
        """Close the lifeline, which ends control (it writes its snapshot first), and kill what does not end."""
        family = self._family
        if family.next is not None:
            family.abandon().sockets.close_but(family.current.sockets)
        if code:
            for relay in family.relays:
                relay.signal(signal.SIGKILL)
        else:
            self._end_workers()
        os.close(self._our_end)
        deadline = time.monotonic() + KILL_AFTER
        while any(child.pid for child in family.everybody) and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            self._signals()
            family.reap()
        for child in family.everybody:
            child.signal(signal.SIGKILL)
        self._place.give_up(family.current.sockets)
        log.info("fastroute-router ended")
        return code

    def _end_workers(self) -> None:
        """The last relay is gone, so nobody needs the workers any more; a second signal ends our patience."""
        child, deadline = self._common.workers.child, time.monotonic() + WORKERS_END
        child.signal(signal.SIGTERM)
        while child.pid and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            if {signal.SIGTERM, signal.SIGINT} & set(self._signals()):
                return
            self._family.reap()


def run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Open the sockets and serve until a signal; ``listen.ListenError`` when a socket can't be opened."""
    return Master(settings, reread).run()
