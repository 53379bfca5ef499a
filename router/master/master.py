"""The master: holds every listening descriptor, starts control and relays, restarts what dies.  PID 1 in a container.

Rules: no protocol code, nothing here depends on what clients send; it sleeps but for signals and its children's words.
A child that dies is replaced at once (then with a backoff) and finds its descriptors as the one before did, so the
listening queue just waits.  The lifeline pipe ends all children if the master is killed.

SIGTERM, SIGINT: relays finish what is in flight (``--drain-timeout``), control answers until they are gone.  A second
one ends everything at once.  SIGHUP reads FILE again: a new generation of children starts beside the old one, and
takes over when all of it serves (``generation.py``); if it does not come to that, nothing changed.  SIGUSR1 goes to
the relays (access log).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from fastroute.router import listen, logs, privileges
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.settings import Settings
from fastroute.router.descriptors import READY, StartError
from fastroute.router.logs import get_logger
from fastroute.router.master.child import Child, Relay
from fastroute.router.master.generation import FIXED, Common, Generation
from fastroute.router.master.sockets import Sockets, open_sockets

#: Past the drain time-out relays end by themselves; this much later they are killed.
KILL_AFTER = 2.0
#: A new generation that does not serve by then is given up.  Starting takes under a second on an idle machine.
START_TIMEOUT = 30.0

log = get_logger("fastroute.master")


class Master:
    """Everything that outlives a child.  ``reread`` gives the settings anew, or ``ConfigurationError``."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        self._reread = reread
        self._lifeline, self._our_end = os.pipe()
        self._words, self._words_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._draining_since: float | None = None
        state = [os.memfd_create(f"fastroute-state-{index}") for index in range(2)]
        self._common = Common(self._lifeline, self._words_end, state)
        self._current = Generation(settings, open_sockets(settings, Sockets()), self._common)
        self._next: Generation | None = None
        self._next_deadline = 0.0
        self._control_left = self._again = False
        self._settle(settings)

    def run(self) -> int:
        """Until a signal ends it.  Returns the exit code."""
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(wanted, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write)
        for child in self._current.children:
            child.start(time.monotonic())
        log.info("fastroute-router serves on %s", ", ".join(self._current.bound))
        while True:
            self._wait()
            for number in self._signals():
                if number == signal.SIGUSR1:
                    for relay in self._relays:
                        relay.signal(signal.SIGUSR1)
                elif number == signal.SIGHUP:
                    self._reload()
                elif number in (signal.SIGTERM, signal.SIGINT) and self._stop():
                    return self._end(1)
            self._hear()
            self._reap()
            self._advance()
            if self._draining_since is not None and self._drained():
                return self._end(0)
            self._restart()

    @property
    def _relays(self) -> list[Relay]:
        return [*self._current.relays, *self._common.leaving]

    def _settle(self, settings: Settings) -> None:
        """With the sockets open: the pid file, then the privileges that are no longer needed."""
        try:
            if settings.pidfile:
                Path(settings.pidfile).write_text(f"{os.getpid()}\n")
            paths = (listener.address.path for listener in self._current.sockets if listener.inode)
            privileges.drop(settings.uid, settings.gid, paths)
        except OSError as error:
            self._current.sockets.close_but(None)
            raise StartError(f"{error.filename or 'uid, gid'}: {error.strerror}") from None

    # A new generation.

    def _reload(self) -> None:
        """Read the configuration again and start what it asks for."""
        if self._draining_since is not None or self._next is not None:
            self._again = self._next is not None
            return
        current, now = self._current, time.monotonic()
        try:
            settings = self._keep_fixed(self._reread())
            sockets = open_sockets(settings, current.sockets)
        except (ConfigurationError, listen.ListenError) as error:
            log.error("not reloaded: %s; everything stays as it was", error)
            return
        self._next, self._next_deadline = Generation(settings, sockets, self._common, current), now + START_TIMEOUT
        try:
            for child in self._new_children():
                child.start(now)
        except StartError as error:
            self._abandon(str(error))

    def _keep_fixed(self, wanted: Settings) -> Settings:
        """``wanted``, but for what a process has for life."""
        have = {name: getattr(self._current.settings, name) for name in FIXED}
        changed = [name.replace("_", "-") for name, value in have.items() if getattr(wanted, name) != value]
        if changed:
            log.warning("%s: changes only with a restart; stays as it was", ", ".join(changed))
        return replace(wanted, **have)

    def _new_children(self) -> list[Child]:
        """The children of the next generation that the current one does not have."""
        new = self._next.children if self._next is not None else []
        return [child for child in new if child not in self._current.children]

    def _advance(self) -> None:
        """Take the next generation one step further."""
        if self._next is None:
            return
        if self._next.ready:
            self._commit(self._next)
        elif time.monotonic() >= self._next_deadline:
            self._abandon(f"it does not serve within {START_TIMEOUT:g} s")
        elif self._next.stands_by and not self._control_left:
            self._control_left = True
            self._current.control.signal(signal.SIGHUP)

    def _commit(self, new: Generation) -> None:
        """The next generation serves: the one before it finishes what it has."""
        old, self._current, self._next, self._control_left = self._current, new, None, False
        new.settle()
        if old.control.word != READY:
            old.control.signal(signal.SIGKILL)
        for relay in old.relays:
            if relay not in new.relays:
                relay.signal(signal.SIGHUP)
                relay.channel.close_theirs()
                self._common.leaving.append(relay)
        old.sockets.close_but(new.sockets)
        logs.set_up(new.settings.log_format, new.settings.log_level)
        changed = [one.name.replace("_", "-") for one in fields(Settings)
                   if getattr(old.settings, one.name) != getattr(new.settings, one.name)]  # fmt: skip
        log.info("reloaded: %s", ", ".join(changed) if changed else "no option changed")
        self._reload_again()

    def _abandon(self, why: str) -> None:
        """The next generation will not be: the current one goes on."""
        assert self._next is not None
        log.error("not reloaded: %s; everything stays as it was", why)
        for child in self._new_children():
            child.signal(signal.SIGKILL)
        for relay in self._next.relays:
            if relay not in self._current.relays:
                relay.channel.close()
        self._next.sockets.close_but(self._current.sockets)
        self._next, self._control_left = None, False
        self._reload_again()

    def _reload_again(self) -> None:
        if self._again:
            self._again = False
            self._reload()

    # Children.

    def _wait(self) -> None:
        waits = [child.due for child in self._current.children if not child.pid and child.due]
        if self._draining_since is not None:
            waits.append(self._draining_since + self._current.settings.drain_timeout + KILL_AFTER)
        if self._next is not None:
            waits.append(self._next_deadline)
        timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
        select.select([self._wakeup_read, self._words], [], [], timeout)

    def _signals(self) -> list[int]:
        try:
            return list(os.read(self._wakeup_read, 4096))
        except BlockingIOError:
            return []

    def _hear(self) -> None:
        """Take in what children report: lines of process id and word, each written at once."""
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._words, 1 << 16).split(b"\n"):
                pid, _, word = line.decode().partition(" ")
                for child in (*self._current.children, *self._new_children()):
                    if pid == str(child.pid):
                        child.word = word

    def _reap(self) -> None:
        """Collect every child that ended, orphans handed to PID 1 included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            self._ended(pid, how)

    def _ended(self, pid: int, how: str) -> None:
        for relay in self._common.leaving:
            if relay.pid == pid:
                self._common.leaving.remove(relay)
                relay.channel.close()
                return
        for child in self._new_children():
            if child.pid == pid:
                child.pid = 0
                self._abandon(f"its {child.name} (pid {pid}) ended, {how}")
                return
        for child in self._current.children:
            if child.pid == pid:
                child.died(time.monotonic())
                expected = child is self._current.control and self._control_left
                if self._draining_since is None and not expected:
                    log.error("%s (pid %d) ended, %s: started again", child.name, pid, how)

    def _restart(self) -> None:
        now = time.monotonic()
        for child in self._current.children:
            if child.pid or child.due > now:
                continue
            if child in self._current.relays and self._draining_since is not None:
                continue
            if child is self._current.control and self._control_left:
                continue
            try:
                child.start(now)
            except StartError as error:
                log.error("%s", error)
                child.died(now)

    # The end.

    def _stop(self) -> bool:
        """Begin to drain; True when that had begun before: end at once."""
        if self._draining_since is not None:
            log.warning("second signal: ending at once")
            return True
        if self._next is not None:
            self._again = False
            self._abandon("the router ends")
        self._draining_since = time.monotonic()
        log.info("draining for up to %g s", self._current.settings.drain_timeout)
        listen.close(self._current.sockets.front)
        for child in (self._current.control, *self._relays):
            child.signal(signal.SIGTERM)
        return False

    def _drained(self) -> bool:
        assert self._draining_since is not None
        time_out = self._current.settings.drain_timeout + KILL_AFTER
        over = time.monotonic() - self._draining_since >= time_out
        return over or not any(relay.pid for relay in self._relays)

    def _end(self, code: int) -> int:
        """Close the lifeline, which ends control (it writes its snapshot first), and kill what does not end."""
        if code:
            for relay in self._relays:
                relay.signal(signal.SIGKILL)
        os.close(self._our_end)
        deadline = time.monotonic() + KILL_AFTER
        while any(child.pid for child in self._everybody) and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            self._signals()
            self._reap()
        for child in self._everybody:
            child.signal(signal.SIGKILL)
        listen.remove_paths(self._current.sockets)
        if self._current.settings.pidfile:
            with contextlib.suppress(OSError):
                os.unlink(self._current.settings.pidfile)
        log.info("fastroute-router ended")
        return code

    @property
    def _everybody(self) -> list[Child]:
        return [*self._current.children, *self._common.leaving]


def run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Open the sockets and serve until a signal; ``listen.ListenError`` when a socket can't be opened."""
    return Master(settings, reread).run()
