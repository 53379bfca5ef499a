"""The deciding thread: takes messages from one queue, lets the reconciler decide, and carries its orders to the edges.

It never waits for Docker, a probe or a router.  All messages that are there are taken in before anything is decided, so
that a burst of events costs one decision; the sink gets a removal in it before anything else is asked for.
"""

from __future__ import annotations

import gc
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.desired import Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.observe.docker_source import DockerSource
from fastroute.controller.observe.probe import Prober
from fastroute.router.runtime.logs import timestamp

#: Messages taken in before a decision, at most: a flood must not put it off for ever.
MAX_BATCH = 1000
#: Seconds of the longest sleep.
MAX_SLEEP = 2.0
#: After a turn that took so many seconds longer than that, the process (or the machine) counts as having been stopped.
SUSPEND_THRESHOLD = 5.0


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """Where an engine is, and who hears what it tells of its swarm."""

    url: str
    #: Of our labels.
    prefix: str = "fastroute"
    heard: Callable[[m.SwarmTold | m.SwarmUntold], None] = lambda message: None


class Loop:
    """One engine's loop.

    * ``name_source`` tells the name under which the routers know an engine.
    * ``decided`` is called with the seconds from event to order of each apply, and its op.
    * ``keep`` is called with what the next life of the controller has to know.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        engine: DockerEngine,
        sink: Sink,
        events: ControllerEvents,
        decided: Callable[[float, str], None],
        *,
        name_source: Callable[[m.Engine], str] = lambda engine: engine.id,
        keep: Callable[[object], None] = lambda state: None,
    ) -> None:
        self._reconciler, self._sink, self._events = reconciler, sink, events
        self._decided, self._name_source, self._keep = decided, name_source, keep
        self._queue: queue.SimpleQueue[m.Message | None] = queue.SimpleQueue()
        self._heard = engine.heard
        self._source = DockerSource(engine.url, self._queue.put, engine.prefix)
        self._prober = Prober(self._queue.put)
        self._settled = False

    def post(self, message: m.Message) -> None:
        """Tell the deciding thread; from any thread."""
        self._queue.put(message)

    def stop(self) -> None:
        """Let :meth:`run` return.  Routes stay as they are: a controller that ends takes no site down."""
        self._queue.put(None)

    def run(self) -> None:
        """Decide until :meth:`stop`."""
        self._source.start()
        last = time.monotonic()
        try:
            while self._turn():
                now = time.monotonic()
                if now - last > MAX_SLEEP + SUSPEND_THRESHOLD:
                    self._queue.put(m.Resync())
                last = now
        finally:
            self._source.stop()
            self._prober.stop()

    def _turn(self) -> bool:
        """One batch of messages and the decision that follows; false when it is time to end."""
        messages, now = self._messages(), time.monotonic()
        for message in messages:
            if message is None:
                return False
            if isinstance(message, m.Connected):
                message = replace(message, source=self._name_source(message.engine))
            if isinstance(message, m.SwarmUntold) or (isinstance(message, m.SwarmTold) and message.own):
                self._heard(message)
            self._reconciler.handle(message, now)
        for order in self._reconciler.decide(now, timestamp(time.time())):
            self._carry_out(order)
        return True

    def _messages(self) -> list[m.Message | None]:
        """What is there; waits until something is, or something is due."""
        due = self._reconciler.next_due()
        nap = MAX_SLEEP if due is None else min(max(due - time.monotonic(), 0.0), MAX_SLEEP)
        messages: list[m.Message | None] = []
        with suppress(queue.Empty):
            messages.append(self._queue.get(timeout=nap))
            while len(messages) < MAX_BATCH:
                messages.append(self._queue.get_nowait())
        return messages

    def _settle_down(self) -> None:
        """Freeze the initial state, which lives long: with it, a full garbage collection takes 60 us a container, and
        a removal would wait for that."""
        if not self._settled:
            self._settled = True
            gc.collect()
            gc.freeze()

    def _carry_out(self, order: m.Order) -> None:
        match order:
            case m.Apply():
                self._sink.apply(order.routes, order.diff)
                if order.received:
                    self._decided(time.monotonic() - order.received, order.op)
                self._settle_down()
            case m.Inspect():
                self._source.inspect(order.id, order.version)
            case m.TakeList():
                self._source.take_list(order.ticket, order.labels)
            case m.TakeSwarm():
                self._source.take_swarm()
            case m.StartProbe():
                self._prober.start(order.target)
            case m.StopProbe():
                self._prober.cancel(order.target)
            case m.Reopen():
                self._source.reopen()
            case m.Keep():
                self._keep(order.state)
            case m.WriteEvent():
                self._events.write(order.kind, order.text, order.container, order.id, order.key)
            case m.AnswerOperator():
                order.to(order.what)
