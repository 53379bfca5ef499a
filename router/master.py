"""The master: holds every listening descriptor, starts control and relays, restarts what dies.  PID 1 in a container.

Rules: no protocol code, nothing here depends on what peers send; it sleeps but for signals.  A child that dies is
replaced at once (then with a backoff up to ``MAX_BACKOFF``) and finds its descriptors as the one before did, so the
listening queue just waits.  The lifeline pipe ends all children if the master is killed.

SIGTERM, SIGINT: relays finish what is in flight (``--drain-timeout``), control answers until they are gone.  A second
one ends everything at once.  SIGUSR1 goes to the relays (access log).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fastroute.router import listen, privileges
from fastroute.router.config.settings import Settings
from fastroute.router.descriptors import Inheritance, StartError
from fastroute.router.logs import get_logger

#: Seconds between restarts of a child that keeps dying: doubled from the first to the last.
MIN_BACKOFF, MAX_BACKOFF = 0.05, 1.0
#: A child that lived this long starts the backoff over.
HEALTHY = 5.0
#: Buffer of a channel between control and a relay, each way; several messages of relays.MAX_MESSAGE.
CHANNEL_BUFFER = 1 << 20
#: Past the drain time-out relays end by themselves; this much later they are killed.
KILL_AFTER = 2.0

log = get_logger("fastroute.master")


@dataclass(slots=True)
class Child:
    """One process to keep alive."""

    name: str
    module: str
    inheritance: Inheritance
    settings_fd: int = -1
    pid: int = 0
    started: float = 0.0
    backoff: float = 0.0
    due: float = 0.0

    def start(self, now: float) -> None:
        """Start it: a fresh interpreter, without the working directory on its path, with its descriptors only."""
        if self.settings_fd < 0:
            self.settings_fd = os.memfd_create(f"fastroute-{self.name}")
            os.write(self.settings_fd, self.inheritance.to_bytes())
        passed = [self.settings_fd, *self.inheritance.descriptors()]
        for fd in passed:
            os.set_inheritable(fd, True)
        # SIGUSR1 ends a process that has no handler yet; relays let it in once they have one.
        argv = [sys.executable, "-P", "-m", self.module, "--settings-fd", str(self.settings_fd)]
        held, default = [signal.SIGUSR1], [signal.SIGPIPE]
        try:
            self.pid = os.posix_spawn(sys.executable, argv, os.environ, setsigmask=held, setsigdef=default)
        except OSError as error:
            text = f"{self.name} can't be started: {sys.executable}: {error.strerror} (as user {os.getuid()})"
            raise StartError(text) from None
        finally:
            for fd in passed:
                os.set_inheritable(fd, False)
        self.started, self.due = now, 0.0

    def died(self, now: float) -> None:
        """Plan the restart."""
        self.pid = 0
        lived = now - self.started >= HEALTHY
        self.backoff = MIN_BACKOFF if lived or not self.backoff else min(self.backoff * 2, MAX_BACKOFF)
        self.due = now if lived else now + self.backoff

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.pid:
            os.kill(self.pid, number)


class Master:
    """Everything that outlives a child."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listeners: list[listen.Listener] = []
        self._fronts: list[listen.Listener] = []
        self._bound: list[str] = []
        self._lifeline, self._our_end = os.pipe()
        self._draining_since: float | None = None
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.children = self._plan()
        self._settle()

    def run(self) -> int:
        """Until a signal ends it.  Returns the exit code."""
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(wanted, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup_write)
        for child in self.children:
            child.start(time.monotonic())
        log.info("fastroute-router serves on %s", ", ".join(self._bound))
        while True:
            self._wait()
            for number in self._signals():
                if number == signal.SIGUSR1:
                    for relay in self._relays:
                        relay.signal(signal.SIGUSR1)
                elif number in (signal.SIGTERM, signal.SIGINT) and self._stop():
                    return self._end(1)
            self._reap()
            if self._draining_since is not None and self._drained():
                return self._end(0)
            self._restart()

    @property
    def _relays(self) -> list[Child]:
        return self.children[1:]

    def _plan(self) -> list[Child]:
        settings, mode = self._settings, self._settings.listen_mode
        self._fronts = listen.open_front(settings.listen, mode)
        fronts = self._keep(self._fronts)
        self._bound = [listener.name for listener in self._fronts]
        subscriptions = self._keep(listen.open_datagrams(settings.subscription_server, mode))
        admin = self._keep(listen.open_streams([settings.admin] if settings.admin else [], mode))
        stats = self._keep(listen.open_streams(settings.stats, mode))
        pairs = [_channel() for _ in range(settings.processes)]
        state = [os.memfd_create(f"fastroute-state-{index}") for index in range(2)]
        data = settings.to_json()
        control = Inheritance(
            data, lifeline_fd=self._lifeline, channel_fds=[ours for ours, _ in pairs],
            subscription_fds=subscriptions, admin_fds=admin, stats_fds=stats, state_fds=state, own=self._bound,
        )  # fmt: skip
        children = [Child("control", "fastroute.router.control.main", control)]
        for index, (_, theirs) in enumerate(pairs):
            relay = Inheritance(data, index, self._lifeline, theirs, fronts)
            children.append(Child(f"relay-{index}", "fastroute.router.relay.main", relay))
        return children

    def _settle(self) -> None:
        """With the sockets open: the pid file, then the privileges that are no longer needed."""
        settings = self._settings
        try:
            if settings.pidfile:
                Path(settings.pidfile).write_text(f"{os.getpid()}\n")
            paths = (listener.address.path for listener in self._listeners if listener.inode)
            privileges.drop(settings.uid, settings.gid, paths)
        except OSError as error:
            listen.remove_paths(self._listeners)
            raise StartError(f"{error.filename or 'uid, gid'}: {error.strerror}") from None

    def _keep(self, listeners: list[listen.Listener]) -> list[int]:
        self._listeners += listeners
        return [listener.socket.fileno() for listener in listeners]

    def _wait(self) -> None:
        waits = [child.due for child in self.children if not child.pid and child.due]
        if self._draining_since is not None:
            waits.append(self._draining_since + self._settings.drain_timeout + KILL_AFTER)
        timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
        select.select([self._wakeup_read], [], [], timeout)

    def _signals(self) -> list[int]:
        try:
            return list(os.read(self._wakeup_read, 4096))
        except BlockingIOError:
            return []

    def _reap(self) -> None:
        """Collect every child that ended, orphans handed to PID 1 included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    child.died(time.monotonic())
                    if self._draining_since is None:
                        code = os.waitstatus_to_exitcode(status)
                        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                        log.error("%s (pid %d) ended, %s: started again", child.name, pid, how)

    def _restart(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if not child.pid and child.due <= now and (self._draining_since is None or child is self.children[0]):
                try:
                    child.start(now)
                except StartError as error:
                    log.error("%s", error)
                    child.died(now)

    def _stop(self) -> bool:
        """Begin to drain; True when that had begun before: end at once."""
        if self._draining_since is not None:
            log.warning("second signal: ending at once")
            return True
        self._draining_since = time.monotonic()
        log.info("draining for up to %g s", self._settings.drain_timeout)
        listen.close(self._fronts)
        for child in self.children:
            child.signal(signal.SIGTERM)
        return False

    def _drained(self) -> bool:
        assert self._draining_since is not None
        over = time.monotonic() - self._draining_since >= self._settings.drain_timeout + KILL_AFTER
        return over or not any(relay.pid for relay in self._relays)

    def _end(self, code: int) -> int:
        """Close the lifeline, which ends control (it writes its snapshot first), and kill what does not end."""
        if code:
            for child in self._relays:
                child.signal(signal.SIGKILL)
        os.close(self._our_end)
        deadline = time.monotonic() + KILL_AFTER
        while any(child.pid for child in self.children) and time.monotonic() < deadline:
            select.select([self._wakeup_read], [], [], 0.05)
            self._signals()
            self._reap()
        for child in self.children:
            child.signal(signal.SIGKILL)
        listen.remove_paths(self._listeners)
        if self._settings.pidfile:
            with contextlib.suppress(OSError):
                os.unlink(self._settings.pidfile)
        log.info("fastroute-router ended")
        return code


def _channel() -> tuple[int, int]:
    """Both ends of a channel, control's first."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BUFFER)
    return pair[0].detach(), pair[1].detach()


def run(settings: Settings) -> int:
    """Open the sockets and serve until a signal; ``listen.ListenError`` when a socket can't be opened."""
    return Master(settings).run()
