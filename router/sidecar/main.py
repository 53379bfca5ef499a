"""``fastroute-ctl announce``: runs a command and announces it, or announces what is already there.

It can be the first process of a container: it passes signals on, reaps orphans, and ends with the command's exit code.
At SIGTERM or SIGINT it withdraws the worker, waits until no router has a request in flight there, and then passes the
signal on; a second one is passed on at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from fastroute.router.runtime import logs
from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.runtime.start import EXIT_FAILED, start
from fastroute.router.sidecar import command_process
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.options import AnnounceSettings, parse
from fastroute.router.sidecar.ports import free_port
from fastroute.router.sidecar.uwsgi_child import remarks
from fastroute.router.sidecar.watched_worker import WatchedWorker

#: Signals that are not passed on: they concern this process alone, or can't be caught.
_NOT_PASSED_ON = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
    signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS, signal.SIGPIPE, signal.SIGTSTP, signal.SIGCONT, signal.SIGURG,
    signal.SIGXCPU, signal.SIGXFSZ,
}  # fmt: skip
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds for routers to ack the withdrawal of a command that has ended.
WITHDRAW_TIMEOUT = 2.5
#: Seconds between looks whether the worker is drained.
_DRAIN_POLL_INTERVAL = 0.05
_MAX_SLEEP = 60.0

log = logging.getLogger("fastroute.announce")


def main(argv: Sequence[str]) -> int:
    """Run with ``argv`` (without the program's name and the verb); the exit code."""
    return start(lambda width: parse(argv, os.environ, width), _run)


def _run(settings: AnnounceSettings) -> int:
    logs.set_up(settings.log_format, settings.log_level)
    try:
        return AnnounceProcess(settings).run()
    except command_process.CommandError as error:
        sys.stderr.write(f"fastroute-ctl announce: {error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"fastroute-ctl announce: {error}\n")
        return EXIT_FAILED


class AnnounceProcess:
    """One worker, from its start to its exit code."""

    def __init__(self, settings: AnnounceSettings) -> None:
        pattern = settings.address
        assert pattern is not None
        self._settings = settings
        self._pid, self._code = 0, 0
        #: The signal that ends us; 0: there was none.
        self._end_signal: int = 0
        #: When it is passed on even if requests are in flight.
        self._deadline = float("inf")
        self._passed_on = False
        self._signals, self._signals_write_end = socket.socketpair()
        for end in (self._signals, self._signals_write_end):
            end.setblocking(False)
        for number in set(signal.valid_signals()) - _NOT_PASSED_ON:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._signals_write_end.fileno(), warn_on_full_buffer=False)
        self._port = pattern.port or (0 if pattern.path else free_port(pattern.host_among(interface_addresses()) or ""))
        # Before there is any thread: a fork takes none along.
        if settings.command:
            self._start(settings.command)
        self._announcer = WorkerAnnouncer(settings.router, settings.credentials())
        self._announcer.selector.register(self._signals, 1, "signals")
        address = pattern.path or f"{pattern.text.rpartition(':')[0]}:{self._port}"
        node = AnnouncedNode(f"{', '.join(settings.key)} at {address}", settings.entries())
        self._worker = WatchedWorker(self._announcer, node, pattern, self._port, settings.probe, settings.protocol)

    def run(self) -> int:
        """Announce until the command ends, or without a command until a signal comes; returns the exit code."""
        self._worker.start(time.monotonic())
        while True:
            now = time.monotonic()
            self._worker.step(now)
            self._announcer.step(now)
            if self._end_signal and not self._passed_on and self._drained(now) and self._pass_on(now):
                break
            due = min(self._worker.due, self._announcer.due, self._deadline)
            if self._end_signal and not self._passed_on:
                due = min(due, now + _DRAIN_POLL_INTERVAL)
            signalled = "signals" in self._announcer.wait(min(max(0.0, due - time.monotonic()), _MAX_SLEEP))
            if signalled and self._read_signals():
                break
        self._withdraw()
        self._announcer.close()
        return self._code

    def _start(self, command: Sequence[str]) -> None:
        for remark in remarks(command, os.environ, _load):
            log.warning("%s: %s", command[0], remark)
        environ = {**os.environ, "FASTROUTE_PORT": str(self._port)} if self._port else dict(os.environ)
        self._pid = command_process.start(command_process.fill_in(command, self._port), environ)

    def _read_signals(self) -> bool:
        """Act on signals; True when the command has ended."""
        try:
            numbers = self._signals.recv(4096)
        except BlockingIOError:
            return False
        for number in dict.fromkeys(numbers):
            if number == signal.SIGCHLD:
                code = command_process.reap(self._pid)
                if code is not None:
                    log.log(logging.INFO if self._passed_on else logging.WARNING, "the command ended with %d", code)
                    self._pid, self._code = 0, code
                    return True
            elif number in _END_SIGNALS and not self._end_signal:
                self._end(number)
            elif number in _END_SIGNALS and not self._passed_on:
                log.warning("second signal: not waiting any longer")
                self._deadline = 0.0
            elif self._pid:
                os.kill(self._pid, number)
        return False

    def _end(self, number: int) -> None:
        now = time.monotonic()
        log.info("%s: withdrawing", signal.Signals(number).name)
        self._end_signal, self._deadline = number, now + self._settings.drain_timeout
        self._worker.stop(now)

    def _drained(self, now: float) -> bool:
        if self._announcer.drained(self._worker.node, now, self._settings.grace):
            return True
        if now < self._deadline:
            return False
        in_flight = self._announcer.in_flight(self._worker.node)
        log.warning("drain time-out: %d requests still in flight", in_flight)
        return True

    def _pass_on(self, now: float) -> bool:
        """The worker is idle: pass the signal on.  True without a command: there is nothing left to do."""
        self._passed_on, self._deadline = True, float("inf")
        if not self._pid:
            return True
        log.info("withdrawn; %s to the command", signal.Signals(self._end_signal).name)
        os.kill(self._pid, self._end_signal)
        return False

    def _withdraw(self) -> None:
        """The command has ended: withdraw it, until routers have acked that."""
        now = time.monotonic()
        self._worker.stop(now)
        deadline = now + WITHDRAW_TIMEOUT
        while not self._announcer.withdrawn(self._worker.node, now) and now < deadline:
            self._announcer.step(now)
            self._announcer.wait(min(_DRAIN_POLL_INTERVAL, max(0.0, self._announcer.due - now)))
            now = time.monotonic()


def _load(file: str) -> str:
    with open(file, encoding="utf-8") as opened:
        return opened.read(1 << 20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
