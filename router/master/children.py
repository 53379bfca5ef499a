"""All children of one master: the generation that serves, the next one while it starts, and relays that finish.

A child that dies is started again at once (later with a back-off) and finds its descriptors as its predecessor did.  If
a child of the next generation dies, that generation has failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from fastroute.router.master.child_process import ChildProcess, RelayProcess
from fastroute.router.master.forking import prepare
from fastroute.router.master.generation import Generation, SharedResources, programs
from fastroute.router.runtime.inheritance import ALIVE, READY, StartError
from fastroute.router.runtime.logs import get_logger

log = get_logger("fastroute.master")


class ChildProcesses:
    """The processes that one master started."""

    def __init__(self, current: Generation, shared: SharedResources, report_fd: int) -> None:
        #: The generation that serves.
        self.current = current
        #: The generation that is starting, if there is one.
        self.next: Generation | None = None
        #: Why starting ``next`` failed; empty: it did not.
        self.failure = ""
        #: Our control gave its state away (or never had it), so it is not started again.
        self.control_released = current.external
        #: The router ends: relays that end are not started again.
        self.draining = False
        self._shared, self._report_fd = shared, report_fd

    @property
    def relays(self) -> list[RelayProcess]:
        """The relays that serve, and those that only finish their requests."""
        return [*self.current.relays, *self._shared.leaving_relays]

    @property
    def all(self) -> list[ChildProcess]:
        """All but those of the next generation."""
        return [*self.current.children, *self._shared.leaving_relays]

    @property
    def starting(self) -> list[ChildProcess]:
        """The children of the next generation that the current one does not have."""
        children = self.next.children if self.next is not None else []
        return [child for child in children if child not in self.current.children]

    def begin(self, generation: Generation) -> None:
        """Start the next generation."""
        self.next, self.failure = generation, ""
        try:
            prepare(programs(generation.settings))
            for child in self.starting:
                child.start(time.monotonic())
        except StartError as error:
            self.failure = str(error)

    def release_state(self) -> None:
        """Have our control save its state, give it to the control that waits for it, and end."""
        self.control_released = True
        self.current.control.signal(signal.SIGHUP)

    def reclaim_state(self) -> None:
        """The control that waited for the state does not serve: start ours again."""
        self.control_released = False

    def leave(self) -> None:
        """Another router serves now: our control ends at once, our relays end once their requests are done."""
        if not self.control_released:
            self.release_state()
        if self.current.control.state != READY:
            self.current.control.signal(signal.SIGKILL)
        for relay in self.relays:
            relay.channel.close_relay_end()

    def commit(self) -> Generation:
        """The next generation becomes the current one; returns its predecessor, whose relays finish their requests."""
        assert self.next is not None
        old, self.current, self.next, self.control_released = self.current, self.next, None, False
        self.current.forget_predecessor()
        if old.control.state != READY:
            old.control.signal(signal.SIGKILL)
        for relay in old.relays:
            if relay not in self.current.relays:
                relay.signal(signal.SIGHUP)
                relay.channel.close_relay_end()
                self._shared.leaving_relays.append(relay)
        return old

    def abandon(self) -> Generation:
        """Give the next generation up, and return it; the current one goes on."""
        assert self.next is not None
        for child in self.starting:
            child.signal(signal.SIGKILL)
        for relay in self.next.relays:
            if relay not in self.current.relays:
                relay.channel.close()
        abandoned, self.next, self.failure, self.control_released = self.next, None, "", False
        return abandoned

    def read_reports(self) -> None:
        """Take in what children report: lines of process id and word, each written at once."""
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._report_fd, 1 << 16).split(b"\n"):
                pid, _, word = line.decode().partition(" ")
                for child in (*self.current.children, *self.starting):
                    if pid == str(child.pid):
                        child.last_report = time.monotonic()
                        child.state = child.state if word == ALIVE else word

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

    def restart_times(self) -> list[float]:
        """When children have to be started again."""
        return [child.due for child in self.current.children if not child.pid and child.due and self._needed(child)]

    def restart(self, now: float) -> None:
        """Start every child that is due."""
        for child in self.current.children:
            if not child.pid and child.due <= now and self._needed(child):
                try:
                    child.start(now)
                except StartError as error:
                    log.error("%s", error)
                    child.died(now)

    def _needed(self, child: ChildProcess) -> bool:
        if child is self.current.control:
            return not self.control_released
        return not self.draining or child not in self.current.relays

    def _ended(self, pid: int, how: str) -> None:
        for relay in self._shared.leaving_relays:
            if relay.pid == pid:
                self._shared.leaving_relays.remove(relay)
                relay.channel.close()
                return
        for child in self.starting:
            if child.pid == pid:
                child.pid = 0
                self.failure = self.failure or f"its {child.name} (pid {pid}) ended, {how}"
                return
        for child in self.current.children:
            if child.pid == pid:
                child.died(time.monotonic())
                if not self.draining and self._needed(child):
                    log.error("%s (pid %d) ended, %s: started again", child.name, pid, how)
