"""All children of one master: the generation that serves, the next one while there is one, and relays that leave.

Who dies is replaced at once (then with a backoff) and finds its descriptors as the one before did.  Whoever of the next
generation dies takes that generation with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from fastroute.router.master.child_process import ChildProcess, RelayProcess
from fastroute.router.master.generation import Generation, SharedResources
from fastroute.router.runtime.inheritance import ALIVE, READY, StartError
from fastroute.router.runtime.logs import get_logger

log = get_logger("fastroute.master")


class ChildProcesses:
    """``next`` failed when :attr:`failure` says why.  ``control_left``: ours gave the state to another's control."""

    def __init__(self, current: Generation, common: SharedResources, words_fd: int) -> None:
        self.current = current
        self.next: Generation | None = None
        self.failure = ""
        self.control_left, self.draining = current.elsewhere, False
        self._common, self._words = common, words_fd

    @property
    def relays(self) -> list[RelayProcess]:
        """Those that serve and those that leave."""
        return [*self.current.relays, *self._common.leaving]

    @property
    def everybody(self) -> list[ChildProcess]:
        """All but the next generation."""
        return [*self.current.children, *self._common.leaving]

    @property
    def newcomers(self) -> list[ChildProcess]:
        """The children of the next generation that the current one does not have."""
        new = self.next.children if self.next is not None else []
        return [child for child in new if child not in self.current.children]

    def begin(self, generation: Generation) -> None:
        """Start the next generation."""
        self.next, self.failure = generation, ""
        try:
            for child in self.newcomers:
                child.start(time.monotonic())
        except StartError as error:
            self.failure = str(error)

    def let_go(self) -> None:
        """Our control saves and gives the state to who waits for it."""
        self.control_left = True
        self.current.control.signal(signal.SIGHUP)

    def leave(self) -> None:
        """Another router serves: nothing of ours is needed any more, control at once, relays once they are done."""
        if not self.control_left:
            self.let_go()
        if self.current.control.word != READY:
            self.current.control.signal(signal.SIGKILL)
        for relay in self.relays:
            relay.channel.close_theirs()

    def take_back(self) -> None:
        """Whoever should have had the state does not serve: our control is needed again."""
        self.control_left = False

    def commit(self) -> Generation:
        """The next generation serves: the one before it, which is returned, finishes what it has."""
        assert self.next is not None
        old, self.current, self.next, self.control_left = self.current, self.next, None, False
        self.current.settle()
        if old.control.word != READY:
            old.control.signal(signal.SIGKILL)
        for relay in old.relays:
            if relay not in self.current.relays:
                relay.signal(signal.SIGHUP)
                relay.channel.close_theirs()
                self._common.leaving.append(relay)
        return old

    def abandon(self) -> Generation:
        """The next generation, which is returned, will not be: the current one goes on."""
        assert self.next is not None
        for child in self.newcomers:
            child.signal(signal.SIGKILL)
        for relay in self.next.relays:
            if relay not in self.current.relays:
                relay.channel.close()
        gone, self.next, self.failure, self.control_left = self.next, None, "", False
        return gone

    def hear(self) -> None:
        """Take in what children report: lines of process id and word, each written at once."""
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._words, 1 << 16).split(b"\n"):
                pid, _, word = line.decode().partition(" ")
                for child in (*self.current.children, *self.newcomers):
                    if pid == str(child.pid):
                        child.heard = time.monotonic()
                        child.word = child.word if word == ALIVE else word

    def reap(self) -> None:
        """Collect every child that ended, orphans handed to PID 1 included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._ended(pid, f"killed by signal {-code}" if code < 0 else f"exit code {code}")

    def restarts_at(self) -> list[float]:
        """When children are to be started again."""
        return [child.due for child in self.current.children if not child.pid and child.due and self._needed(child)]

    def restart(self, now: float) -> None:
        """Start who is due."""
        for child in self.current.children:
            if not child.pid and child.due <= now and self._needed(child):
                try:
                    child.start(now)
                except StartError as error:
                    log.error("%s", error)
                    child.died(now)

    def _needed(self, child: ChildProcess) -> bool:
        if child is self.current.control:
            return not self.control_left
        return not self.draining or child not in self.current.relays

    def _ended(self, pid: int, how: str) -> None:
        for relay in self._common.leaving:
            if relay.pid == pid:
                self._common.leaving.remove(relay)
                relay.channel.close()
                return
        for child in self.newcomers:
            if child.pid == pid:
                child.pid = 0
                self.failure = self.failure or f"its {child.name} (pid {pid}) ended, {how}"
                return
        for child in self.current.children:
            if child.pid == pid:
                child.died(time.monotonic())
                if not self.draining and self._needed(child):
                    log.error("%s (pid %d) ended, %s: started again", child.name, pid, how)
