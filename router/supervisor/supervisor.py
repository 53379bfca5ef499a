"""Keeps the workers of one plan: starts them, restarts those that end, replaces them one by one, ends them all.

Rules: there is one thread, which waits in one place only; every process leads a group of its own, and the whole group
ends with it; a process that can't be started is tried again, and affects no other.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence

from fastroute.router.config.worker import WorkerSettings
from fastroute.router.runtime.logs import get_logger
from fastroute.router.sidecar.announcer import WorkerAnnouncer
from fastroute.router.sidecar.command_process import CommandError
from fastroute.router.supervisor.instance import WorkerInstance
from fastroute.router.supervisor.output import WorkerOutput
from fastroute.router.supervisor.process_groups import ProcessGroups, kill_group
from fastroute.router.supervisor.restarts import RestartPolicy

#: Seconds until a replacement has to be ready.
READY_TIMEOUT = 60.0
#: Seconds from the signal that ends a process to SIGKILL, and the same once the master has ended.
STOP_TIMEOUT, ORPHANED_STOP_TIMEOUT = 10.0, 1.0
#: Seconds between looks whether processes are drained or have ended.
_POLL_INTERVAL = 0.05
_MAX_SLEEP = 30.0

log = get_logger("fastroute.workers")


class WorkerSlot:
    """The place of one process in the plan."""

    def __init__(self, worker: WorkerSettings, index: int) -> None:
        self.index = index
        self.take(worker)
        #: The process that serves.
        self.current: WorkerInstance | None = None
        #: The process that is to replace it, once it is ready.
        self.next: WorkerInstance | None = None
        #: When a process has to be started, while there is none.
        self.due = 0.0

    def take(self, worker: WorkerSettings) -> None:
        """From its next start on, the process is one of ``worker``."""
        self.worker = worker
        self.name = worker.name if worker.count == 1 else f"{worker.name}.{self.index + 1}"
        self.restarts = RestartPolicy(worker.restart)


class Supervisor:
    """Runs what ``plan`` returns: the workers as they should be now, and how long requests in flight may take."""

    def __init__(
        self,
        announcer: WorkerAnnouncer,
        groups: ProcessGroups,
        plan: Callable[[], tuple[Sequence[WorkerSettings], float]],
    ) -> None:
        self._announcer, self._groups, self._plan = announcer, groups, plan
        self._slots: dict[tuple[str, int], WorkerSlot] = {}
        #: Slots that still have to be replaced, one after the other.
        self._rollout: deque[WorkerSlot] = deque()
        self._replacing: WorkerSlot | None = None
        #: When its replacement has to be ready.
        self._ready_deadline = 0.0
        #: Processes that are withdrawn and drain, and until when.
        self._retiring: dict[WorkerInstance, float] = {}
        #: Processes that have ended, while routers have not acked their withdrawal.
        self._forgetting: list[WorkerInstance] = []
        self._drain_timeout = 30.0
        #: When every process is killed.
        self._kill_time = float("inf")

    # What the process is told

    def begin(self, now: float) -> None:
        """Start all workers; processes that an earlier supervisor left are ended first."""
        if leaders := self._groups.end_all():
            log.warning("a supervisor that was killed had left process groups %s: ended", ", ".join(map(str, leaders)))
        workers, self._drain_timeout = self._plan()
        for worker in workers:
            for index in range(worker.count):
                self._slots[worker.name, index] = WorkerSlot(worker, index)

    def reload(self, now: float) -> None:
        """Read the plan again: start what is new, end what is gone, replace all others one by one."""
        workers, self._drain_timeout = self._plan()
        planned = {(worker.name, index): worker for worker in workers for index in range(worker.count)}
        for name in [name for name in self._slots if name not in planned]:
            self._leave(self._slots.pop(name), now)
        self._rollout.clear()
        for name, worker in planned.items():
            slot = self._slots.get(name)
            if slot is None:
                self._slots[name] = WorkerSlot(worker, name[1])
                continue
            slot.take(worker)
            if slot.current is None:
                slot.due = now
            else:
                self._rollout.append(slot)
        log.info("workers: %d processes, %d to be replaced one by one", len(planned), len(self._rollout))

    def stop(self, now: float, timeout: float = STOP_TIMEOUT) -> None:
        """End all processes; those that don't end are killed after ``timeout`` seconds."""
        if self._kill_time == float("inf"):
            for instance in self._instances():
                instance.end(now)
        self._kill_time = min(self._kill_time, now + timeout)

    @property
    def over(self) -> bool:
        """All processes have ended, after :meth:`stop`."""
        return self._kill_time < float("inf") and not self._instances()

    # Time

    def step(self, now: float) -> None:
        """Do what is due."""
        if self._kill_time < float("inf"):
            if now >= self._kill_time:
                for instance in self._instances():
                    kill_group(instance.pid, signal.SIGKILL)
        else:
            for slot in self._slots.values():
                if slot.current is None and slot.next is None and slot.due <= now:
                    self._start_current(slot, now)
            self._roll(now)
        for instance in self._instances():
            instance.step(now)
        self._retire(now)
        self._announcer.step(now)

    def wait(self) -> list[object]:
        """Sleep until something happens, and log what workers print.  Returns what else is ready in the selector."""
        now = time.monotonic()
        due = [now + _MAX_SLEEP, self._announcer.due, *(instance.due for instance in self._instances())]
        due += [slot.due for slot in self._slots.values() if slot.current is None]
        if self._retiring or self._forgetting or self._replacing or self._rollout or self._kill_time < float("inf"):
            due.append(now + _POLL_INTERVAL)
        others = []
        for ready in self._announcer.wait(min(due) - now):
            if not isinstance(ready, WorkerOutput):
                others.append(ready)
            elif not ready.read():
                self._announcer.selector.unregister(ready.fd)
        return others

    def reap(self, now: float) -> None:
        """Collect processes that ended, and kill what is left of their groups while their ids can't be given away."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            kill_group(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            self._groups.remove(ended.si_pid)
            for instance in self._instances():
                if instance.pid == ended.si_pid:
                    self._ended(instance, os.waitstatus_to_exitcode(status), now)

    # Inside

    def _instances(self) -> list[WorkerInstance]:
        instances = [instance for slot in self._slots.values() for instance in (slot.current, slot.next)]
        return [*(instance for instance in instances if instance is not None), *self._retiring]

    def _start(self, slot: WorkerSlot, now: float) -> WorkerInstance | None:
        instance = WorkerInstance(slot.name, slot.worker, self._announcer)
        try:
            instance.start(self._groups.mark, now)
        except (CommandError, OSError) as error:
            log.error("%s can't be started: %s", slot.name, error)
            instance.gone(now)
            return None
        self._groups.add(instance.pid)
        self._announcer.selector.register(instance.output.fd, selectors.EVENT_READ, instance.output)
        return instance

    def _start_current(self, slot: WorkerSlot, now: float) -> None:
        slot.current = self._start(slot, now)
        if slot.current is None:
            slot.due = slot.restarts.due(1, 0.0, now)

    def _ended(self, instance: WorkerInstance, code: int, now: float) -> None:
        with contextlib.suppress(KeyError):
            self._announcer.selector.unregister(instance.output.fd)
        pid = instance.pid
        instance.gone(now)
        self._forgetting.append(instance)
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._retiring.pop(instance, None)
        for slot in self._slots.values():
            if slot.next is instance:
                slot.next = None
                self._give_up(slot, f"it ended, {how}", now)
            elif slot.current is instance:
                slot.current = None
                if self._kill_time < float("inf"):
                    return
                slot.due = slot.restarts.due(code, now - instance.started, now)
                if slot.due == float("inf"):
                    log.info("%s (pid %d) ended, %s: not started again (restart: %s)", instance.name, pid, how,
                             slot.worker.restart)  # fmt: skip
                else:
                    log.error("%s (pid %d) ended, %s: started again %s", instance.name, pid, how,
                              "at once" if slot.due <= now else f"in {slot.due - now:.3g} s")  # fmt: skip

    # Replacing one by one

    def _roll(self, now: float) -> None:
        slot = self._replacing
        if slot is not None and slot.next is not None:
            if slot.next.ready:
                old, slot.current, slot.next = slot.current, slot.next, None
                if old is not None:
                    self._leave_instance(old, now)
            elif now >= self._ready_deadline:
                failed, slot.next = slot.next, None
                self._leave_instance(failed, now)
                self._give_up(slot, f"it is not ready within {READY_TIMEOUT:g} s: {failed.waits_for}", now)
            return
        if self._replacing is not None and self._retiring:
            return
        self._replacing = None
        while self._rollout and self._replacing is None:
            slot = self._rollout.popleft()
            if slot.current is not None and slot.worker.uwsgi_options:
                self._reload_uwsgi(slot, slot.current)
            elif slot.current is not None:
                self._replacing, self._ready_deadline = slot, now + READY_TIMEOUT
                slot.next = self._start(slot, now)
                if slot.next is None:
                    self._give_up(slot, "see above", now)

    def _give_up(self, slot: WorkerSlot, reason: str, now: float) -> None:
        self._replacing = None
        others = len(self._rollout)
        self._rollout.clear()
        rest = "the one before it goes on" if slot.current is not None else "no process is left"
        more = f"; {others} others stay as they are" if others else ""
        log.error("%s: its replacement failed, %s; %s%s", slot.name, reason, rest, more)
        if slot.current is None:
            slot.due = slot.restarts.due(1, 0.0, now)

    def _reload_uwsgi(self, slot: WorkerSlot, instance: WorkerInstance) -> None:
        """uWSGI replaces its own workers, and keeps its sockets; other sockets need another uWSGI."""
        sockets = [value for name, value in slot.worker.uwsgi_options if name in ("socket", "uwsgi-socket")]
        before = [value for name, value in instance.worker.uwsgi_options if name in ("socket", "uwsgi-socket")]
        if sockets != before or slot.worker.subscribed != instance.worker.subscribed:
            self._leave_instance(instance, time.monotonic())
            slot.current, slot.due = None, time.monotonic()
            return
        instance.write_options(slot.worker, instance.addresses)
        instance.worker = slot.worker
        log.info("%s (pid %d): reloads", instance.name, instance.pid)
        instance.signal(signal.SIGHUP)

    def _leave(self, slot: WorkerSlot, now: float) -> None:
        if self._replacing is slot:
            self._replacing = None
        for instance in (slot.current, slot.next):
            if instance is not None:
                self._leave_instance(instance, now)

    def _leave_instance(self, instance: WorkerInstance, now: float) -> None:
        instance.withdraw(now)
        self._retiring[instance] = now + self._drain_timeout

    def _retire(self, now: float) -> None:
        for instance, deadline in self._retiring.items():
            if instance.drained(now) or now >= deadline:
                instance.end(now)
            if now >= instance.signalled + STOP_TIMEOUT:
                kill_group(instance.pid, signal.SIGKILL)
        for instance in list(self._forgetting):
            if all(self._announcer.withdrawn(node, now) for node in instance.nodes):
                instance.forget()
                self._forgetting.remove(instance)
