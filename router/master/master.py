"""The master: holds every listening descriptor, starts control and relays, restarts what dies.  PID 1 in a container.

Rules: it speaks no protocol, and nothing in it depends on what clients send.  It sleeps until a signal, a report of a
child or another router in ``--run-dir`` wakes it.  The listening queue just waits while a child is replaced.  The
lifeline pipe ends all children if the master is killed.

SIGTERM, SIGINT: relays finish what is in flight (``--drain-timeout``), control answers until they are gone.  A second
one ends everything at once.  SIGHUP reads FILE again: a new generation of children starts beside the old one, and
takes over when all of it serves (``generation.py``); if it fails to, nothing changes.  A new router with the same
``--run-dir`` takes over in the same steps (``handover.py``); SIGUSR2 starts one.  SIGUSR1 goes to the relays (access
log).
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
from fastroute.router.master.child_process import relay_ended
from fastroute.router.master.children import ChildProcesses
from fastroute.router.master.forking import prepare
from fastroute.router.master.generation import FIXED, Generation, SharedResources, programs
from fastroute.router.master.handover import HandoverState, take_over
from fastroute.router.master.handover_client import HandoverClient
from fastroute.router.master.handover_server import HandoverServer, start_successor
from fastroute.router.master.runtime_files import RuntimeFiles
from fastroute.router.master.sockets import open_sockets, open_with_retries
from fastroute.router.master.supervisor_handle import SupervisorHandle
from fastroute.router.master.watchdog import Watchdog
from fastroute.router.runtime import listen, logs
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier

#: Past the drain time-out relays end by themselves; they are killed this many seconds later.
KILL_AFTER = 2.0
#: Seconds for our own workers to end, and for the supervisor to kill those that don't (supervisor.STOP_TIMEOUT).
WORKERS_END_TIMEOUT = 12.0
#: Seconds until a new generation has to serve, or it is given up.  Starting takes under one on an idle machine.
START_TIMEOUT = 30.0

log = get_logger("fastroute.master")


class Master:
    """Everything that outlives a child.  ``reread`` gives the settings anew, or raises ``ConfigurationError``."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        prepare(programs(settings))  # Before anything listens: from then on somebody may wait.
        self._reread = reread
        lifeline_fd, self._lifeline_end = os.pipe()
        report_read, report_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._report_fd = report_read
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._draining_since: float | None = None
        #: When the next generation has to serve.
        self._next_deadline = 0.0
        #: The control that serves was told to give its state away.
        self._state_requested = False
        #: SIGHUP came while there was no time for it.
        self._reload_pending = False
        self._notifier = Notifier(os.environ)
        self._watchdog = Watchdog(self._notifier)
        taken = take_over(settings.run_dir) if settings.run_dir else None
        #: While this router takes over from another.
        self._client = HandoverClient(*taken) if taken is not None else None
        inherited = taken[1] if taken is not None else HandoverState()
        state_fds = inherited.state_fds or [os.memfd_create(f"fastroute-state-{index}") for index in range(2)]
        supervisor = SupervisorHandle(lifeline_fd)
        self._shared = SharedResources(
            lifeline_fd, report_write, state_fds, inherited.relay_channels, supervisor, self._notifier.watchdog
        )
        sockets = open_with_retries(settings, inherited.sockets)
        try:
            self._server = HandoverServer(settings.run_dir, inherited.listener)
            self._files = RuntimeFiles(settings, sockets)
        except BaseException:
            sockets.close_except(inherited.sockets)
            raise
        self._first = Generation(settings, sockets, self._shared)
        external = Generation(settings, inherited.sockets, self._shared, external=True)
        current = external if self._client is not None else self._first
        self._children = ChildProcesses(current, self._shared, report_read)

    def run(self) -> int:
        """Serve until a signal ends it; returns the exit code."""
        for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(handled, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write)
        if self._client is not None:
            log.info("taking over from the router with pid %d", self._client.pid)
            self._begin(self._first)
        else:
            for child in self._first.children:
                child.start(time.monotonic())
            self._files.take()
        while True:
            readable = self._wait()
            for number in self._signals():
                if number == signal.SIGUSR1:
                    for relay in self._children.relays:
                        relay.signal(signal.SIGUSR1)
                elif number == signal.SIGUSR2 and self._draining_since is None:
                    start_successor(self._children.current.settings.run_dir, self._notifier)
                elif number == signal.SIGHUP:
                    self._reload()
                elif number in (signal.SIGTERM, signal.SIGINT) and self._stop():
                    return self._end(1)
            self._children.read_reports()
            self._children.reap()
            if self._client is not None and not self._step_client(readable):
                return self._end(1)
            self._advance()
            self._step_server(readable)
            if self._draining_since is None:
                self._watchdog.check(self._children.current)
            elif self._drained():
                return self._end(0)
            self._children.restart(time.monotonic())

    def _wait(self) -> list[int]:
        """Sleep until there is something to do; returns the descriptors that are readable then."""
        children, readers = self._children, [self._wakeup_read, self._report_fd]
        deadlines = children.restart_times()
        if self._draining_since is None:
            deadlines += [due for due in (self._watchdog.due,) if due < math.inf]
        else:
            deadlines.append(self._draining_since + children.current.settings.drain_timeout + KILL_AFTER)
        if children.next is not None:
            deadlines.append(self._next_deadline)
        if self._client is not None:
            readers += [fd for fd in (self._client.fileno(),) if fd >= 0]
        if self._server.connection is not None:
            readers.append(self._server.connection.fileno())
            deadlines.append(self._server.deadline)
        elif self._server.listener is not None and children.current.ready and children.next is None:
            readers.append(self._server.listener.socket.fileno())
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        return select.select(readers, [], [], timeout)[0]

    def _signals(self) -> list[int]:
        try:
            return list(os.read(self._wakeup_read, 4096))
        except BlockingIOError:
            return []

    # A new generation.

    def _reload(self) -> None:
        """Read the configuration again, and start a generation with it."""
        children = self._children
        if self._draining_since is not None:
            return
        if children.next is not None or self._server.connection is not None:
            self._reload_pending = True
            return
        self._notifier.reloading()
        try:
            settings = self._keep_fixed(self._reread())
            sockets = open_sockets(settings, children.current.sockets)
        except (ConfigurationError, listen.ListenError) as error:
            self._not_reloaded(str(error))
            return
        self._begin(Generation(settings, sockets, self._shared, children.current))

    def _keep_fixed(self, settings: Settings) -> Settings:
        """``settings``, with the present values of those that only a restart changes."""
        fixed = {name: getattr(self._children.current.settings, name) for name in FIXED}
        changed = [name.replace("_", "-") for name, value in fixed.items() if getattr(settings, name) != value]
        if changed:
            log.warning("%s: changes only with a restart; stays as it was", ", ".join(changed))
        return replace(settings, **fixed)

    def _begin(self, generation: Generation) -> None:
        self._next_deadline, self._state_requested = time.monotonic() + START_TIMEOUT, False
        self._children.begin(generation)

    def _advance(self) -> None:
        """Take the next generation one step further."""
        children = self._children
        if children.next is None or self._client is not None:
            return
        if time.monotonic() >= self._next_deadline:
            children.failure = children.failure or f"it does not serve within {START_TIMEOUT:g} s"
        if children.failure:
            self._abandon(children.failure)
        elif children.next.ready:
            self._commit()
        elif children.next.stands_by and not self._state_requested:
            self._state_requested = True
            children.release_state()

    def _commit(self) -> None:
        old, new = self._children.commit(), self._children.current
        old.close_except(new)
        self._shared.supervisor.reload(new.settings)
        logs.set_up(new.settings.log_format, new.settings.log_level)
        changed = [setting.name.replace("_", "-") for setting in fields(Settings)
                   if getattr(old.settings, setting.name) != getattr(new.settings, setting.name)]  # fmt: skip
        if old.pages is not new.pages and "error-pages" not in changed:
            changed.append("the files of error-pages")
        log.info("reloaded: %s", ", ".join(changed) if changed else "no option changed")
        self._notifier.ready(f"serves on {', '.join(new.bound)}")
        self._run_pending_reload()

    def _not_reloaded(self, reason: str) -> None:
        log.error("not reloaded: %s; everything stays as it was", reason)
        self._notifier.ready(f"not reloaded: {reason}")

    def _abandon(self, reason: str) -> None:
        self._not_reloaded(reason)
        self._children.abandon().close_except(self._children.current)
        self._run_pending_reload()

    def _run_pending_reload(self) -> None:
        """Do the reload that had to wait, if there is one."""
        if self._reload_pending:
            self._reload_pending = False
            self._reload()

    # From one router to another.

    def _step_client(self, readable: list[int]) -> bool:
        """Take over from the other router, one step further; False: it refused, or we failed."""
        children, client = self._children, self._client
        assert client is not None
        answer = client.receive() if client.fileno() in readable else ""
        if time.monotonic() >= self._next_deadline:
            children.failure = children.failure or f"this one does not serve within {START_TIMEOUT:g} s"
        if answer == "refused" or children.failure:
            reason = client.refusal or children.failure
            log.error("did not take over: %s; the router with pid %d goes on", reason, client.pid)
            return False
        assert children.next is not None
        if answer == "yours" or (children.next.ready and client.ready() == "yours"):
            self._client = None
            client.close()
            old = children.commit()
            old.close_except(children.current)
            self._files.take()
            self._run_pending_reload()
        elif children.next.stands_by and not self._state_requested:
            self._state_requested = True
            client.standby()
        return True

    def _step_server(self, readable: list[int]) -> None:
        """Let another router take over, one step further."""
        event, children, server = self._server.step(readable), self._children, self._server
        if event == "hello" and server.connection is not None:
            log.info("the router with pid %d (version %s) wants to take over", server.connection.pid, server.version)
            channels = [*(relay.channel.control_end for relay in children.relays), *self._shared.foreign_channels]
            alive = [fd for fd in channels if not relay_ended(fd)]
            state = HandoverState(children.current.sockets, server.listener, self._shared.state_fds, alive)
            if not server.connection.offer(state):
                server.disconnect()
        elif event == "standby":
            children.release_state()
        elif event == "ready" and server.connection is not None and server.connection.send(word="yours"):
            self._hand_over()
        elif event in ("ready", "gone"):
            server.disconnect()
            log.warning("the other router did not take over; this one goes on")
            children.reclaim_state()
            self._run_pending_reload()

    def _hand_over(self) -> None:
        """The other router serves: finish the requests that we have."""
        assert self._server.connection is not None
        log.info("handed over to the router with pid %d", self._server.connection.pid)
        self._notifier.successor(self._server.connection.pid)
        self._files.leave()
        self._server.close(remove=False)
        self._children.leave()
        listen.close(self._children.current.sockets)
        self._drain()

    # The end.

    def _stop(self) -> bool:
        """Begin to drain; True: there is nothing to wait for, end at once."""
        if self._draining_since is not None:
            log.warning("second signal: ending at once")
            return True
        if self._client is not None:
            return True
        self._reload_pending = False
        if self._children.next is not None:
            self._abandon("the router ends")
        self._server.refuse("it ends")
        self._children.reclaim_state()
        self._server.close(remove=True)
        self._notifier.stopping()
        self._children.current.control.signal(signal.SIGTERM)
        # Paths first: then a connection that is in the queue is served, and none is made after the relays' last accept.
        listen.remove_paths(self._children.current.sockets.fronts)
        listen.close(self._children.current.sockets.fronts)
        self._drain()
        return False

    def _drain(self) -> None:
        self._draining_since, self._children.draining = time.monotonic(), True
        log.info("draining for up to %g s", self._children.current.settings.drain_timeout)
        for relay in self._children.relays:
            relay.signal(signal.SIGTERM)

    def _drained(self) -> bool:
        assert self._draining_since is not None
        time_out = self._children.current.settings.drain_timeout + KILL_AFTER
        over = time.monotonic() - self._draining_since >= time_out
        return over or not any(relay.pid for relay in self._children.relays)

    def _end(self, code: int) -> int:
        """Close the lifeline, which ends control (it writes its snapshot first), and kill every child that goes on."""
        children = self._children
        if children.next is not None:
            children.abandon().close_except(children.current)
        if code:
            for relay in children.relays:
                relay.signal(signal.SIGKILL)
        else:
            self._end_workers()
        os.close(self._lifeline_end)
        deadline = time.monotonic() + KILL_AFTER
        while any(child.pid for child in children.all) and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            self._signals()
            children.reap()
        for child in children.all:
            child.signal(signal.SIGKILL)
        self._files.remove(children.current.sockets)
        log.info("fastroute-router ended")
        return code

    def _end_workers(self) -> None:
        """The last relay has ended, so the workers get no more requests: end them; a second signal ends the wait."""
        child, deadline = self._shared.supervisor.process, time.monotonic() + WORKERS_END_TIMEOUT
        child.signal(signal.SIGTERM)
        while child.pid and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            if {signal.SIGTERM, signal.SIGINT} & set(self._signals()):
                return
            self._children.reap()
