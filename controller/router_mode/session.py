"""The announcements to one router: entries and acks come in, datagrams go out.  Pure; times are monotonic seconds.

A router is *original* until it acks for the first time (``legacy.py`` says what it is told), and again when it has been
silent for ``LOST_AFTER`` seconds.  One that acks is told

* changes at once, removals before additions, without waiting for earlier acks; what is not acked is asked again;
* everything (a *full announcement*: batches in a window, then a mark) at first contact, when it asks for it, and when
  its boot id is another one;
* one heartbeat with count and digest when there is nothing else to say.

A router that stops answering is asked one question a second; its answer sets the rest going again.
docs/reference/wire.md is the protocol.  Nothing here knows sockets or threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import replace

from fastroute.controller.router_mode.announce_queues import AnnounceQueues
from fastroute.controller.router_mode.announce_stats import AnnounceStats
from fastroute.controller.router_mode.announced import Announced, Drains
from fastroute.controller.router_mode.congestion import CongestionWindow
from fastroute.controller.router_mode.legacy import LegacyAnnouncer
from fastroute.controller.router_mode.packets_in_flight import (
    MAX_RESEND_INTERVAL,
    RESEND_AFTER,
    EntryId,
    Packet,
    PacketsInFlight,
    entry_id,
)
from fastroute.controller.router_mode.takeovers import Takeovers
from fastroute.router.protocol.subscription import Ack, Announcement, AnnouncementOp, Entry, encode, encode_plain

#: Packets with changes that may be under way beyond the window: a change does not wait for a full announcement.
CHANGES_BEYOND_WINDOW = 8
#: After so many seconds without an answer a router is asked one question at a time;
SILENT_AFTER = 2.0
#: and after so many it is taken for gone, or for replaced by an original.
LOST_AFTER = 30.0
#: Names of lost sources in one heartbeat: of more, others each time.
MAX_LOST = 12
#: A router that is never content is not told everything more often than this (seconds).
MAX_FULL_PAUSE = 30.0


class RouterSession:
    """The announcements to one router.

    ``source`` and ``instance`` say who announces; ``heartbeat``: seconds; ``limit``: bytes of a batch packet;
    ``window``: packets under way at once, at most, so that no receive buffer runs over; ``numbers``: the next ``seq``,
    shared by all sessions of an instance: a router that moves to another address with its pools knows those of the
    session before.
    Call :meth:`poll` after every change and ack, and when :attr:`due` has come; send what it returns, in order.
    """

    def __init__(
        self,
        source: str,
        instance: int,
        *,
        heartbeat: float,
        limit: int,
        window: int,
        now: float,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._source, self._instance = source, instance
        self._heartbeat, self._limit = heartbeat, limit
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._congestion = CongestionWindow(window)
        self._seq = 0
        self._announced = Announced()
        self._in_flight = PacketsInFlight()
        self._drains = Drains()
        self._legacy: LegacyAnnouncer | None = LegacyAnnouncer((), heartbeat, now)
        self._probe_at, self._probe_interval = now, RESEND_AFTER
        self._next_heartbeat = now
        self._queues = AnnounceQueues()
        self._since = 0  # first packet of the full announcement under way; 0: none
        self._full_at = math.inf
        self._fulls = 0  # full announcements in a row that did not make the router content
        self._boot = ""
        self._newest_acked = 0  # by the router that has this boot id
        self._in_doubt = False  # an ack of another boot id came, maybe a late one
        self._unanswered_since = math.inf
        self._silent = False
        self._last_ack = -math.inf
        self._takeovers = Takeovers()
        self._lost: tuple[str, ...] = ()
        self._resent = 0
        self.problem = ""
        self.stats = AnnounceStats()

    # Desired state in

    def change(self, gone: Collection[Entry], come: Collection[Entry], now: float) -> None:
        """Entries that are no longer desired, and those that are new or different."""
        self._announced.remove(gone)
        self._announced.put(come)
        if self._legacy:
            self._legacy.change(gone, come, now)
        elif gone or come:
            self._in_flight.forget_questions()
            self._queues.change(gone, come)
            self._drains.rejoined([*come, *gone])

    def lose(self, sources: tuple[str, ...], now: float) -> None:
        """The machines of these sources are down: said with each heartbeat, and now."""
        if sources != self._lost:
            self._lost = sources
            self._next_heartbeat = now

    def wake(self, now: float) -> None:
        """There is reason to believe that the router is back, or another one: ask at once."""
        self._next_heartbeat = self._probe_at = now
        self._probe_interval = RESEND_AFTER
        self._in_flight.hurry(now)

    # Datagrams out

    def poll(self, now: float) -> list[bytes]:
        """The datagrams to send now, in this order."""
        if now >= self._unanswered_since + LOST_AFTER:
            self._lose(now)
        if self._legacy:
            return self._poll_legacy(self._legacy, now)
        if now < self._takeovers.hold_until:
            return []
        self._silent = now - self._unanswered_since >= SILENT_AFTER
        packets = [self._sent("nodes", entries, now) for entries in self._queues.take_gone(self._limit)]
        if now >= self._full_at:
            self._begin_full()
        packets += [self._sent("nodes", entries, now) for entries in self._joins()]
        packets += self._resends(now)
        if self._in_doubt:
            # The ack of a new question tells which boot id is the living one.
            self._in_doubt = False
            packets.append(self._sent("heartbeat", (), now))
        elif not self._in_flight and not self._queues:
            if self._since:
                packets.append(self._sent("mark", (), now))
            elif now >= self._next_heartbeat:
                packets.append(self._sent("heartbeat", (), now))
        return [self._encode(packet) for packet in packets]

    @property
    def due(self) -> float:
        """When to call :meth:`poll` next, if nothing happens before."""
        if self._legacy:
            return min(self._legacy.due, self._probe_at)
        if self._queues.gone or self._in_doubt or (self._can_join and self._queues.joins):
            return self._takeovers.hold_until
        ask = self._probe_at if self._silent else self._in_flight.due
        beat = math.inf if self._in_flight else self._next_heartbeat
        return max(
            self._takeovers.hold_until,
            min(ask, beat, self._drains.due, self._full_at, self._unanswered_since + LOST_AFTER),
        )

    @property
    def _can_join(self) -> bool:
        """Whether the window has room for what is queued: changes may go beyond a full announcement's."""
        return len(self._in_flight) < self._congestion.window + (CHANGES_BEYOND_WINDOW if self._queues.changes else 0)

    def _joins(self) -> Iterator[tuple[Entry, ...]]:
        """What the window has room for, a packet at a time (the caller sends each before it takes the next)."""
        while self._can_join and self._queues.joins:
            yield self._queues.take(self._announced.entries, self._limit)

    def _resends(self, now: float) -> list[Packet]:
        """What is asked again; of a silent router, one thing a second."""
        again: list[Packet] = []
        if not self._silent:
            if self._in_flight.due <= now:
                self._congestion.missed(now)
            due = self._in_flight.resend_due(now, self._congestion.window + CHANGES_BEYOND_WINDOW)
            again = [each for each in due if not self._queues.split(each, self._limit)]
            self._probe_at = now
        elif now >= self._probe_at:
            self._probe_at = now + MAX_RESEND_INTERVAL
            again = self._in_flight.resend_oldest(now)
        if again:
            self._resent += len(again)
            self._unanswered_since = min(self._unanswered_since, now)
        again += self._drains.ask(now)
        self.stats.resent(again)
        return again

    def _sent(self, op: AnnouncementOp, entries: tuple[Entry, ...], now: float) -> Packet:
        self._seq = next(self._numbers)
        packet = Packet(self._seq, op, entries, interval=self._congestion.resend_after)
        self._in_flight.sent(packet, now)
        self.stats.sent(packet)
        self._unanswered_since = min(self._unanswered_since, now)
        return packet

    def _encode(self, packet: Packet) -> bytes:
        announcement = self._announcement(packet.op, packet.seq)
        return encode(replace(announcement, entries=packet.entries))

    def _announcement(self, op: AnnouncementOp, seq: int) -> Announcement:
        first = seq * MAX_LOST % len(self._lost) if len(self._lost) > MAX_LOST else 0
        lost = (*self._lost[first:], *self._lost[:first])[:MAX_LOST] if op == "heartbeat" else ()
        count, digest = self._announced.count, self._announced.digest
        return Announcement(op, (), self._source, self._instance, seq, True, self._since, count, digest, lost=lost)

    # A router that never acked

    def _poll_legacy(self, legacy: LegacyAnnouncer, now: float) -> list[bytes]:
        datagrams = []
        if now >= self._probe_at:
            # The original ignores a packet without key; one of ours answers even if there is no node to tell.
            self._probe_at, self._probe_interval = (
                now + self._probe_interval,
                min(self._probe_interval * 2, MAX_RESEND_INTERVAL),
            )
            self._seq = next(self._numbers)
            datagrams.append(encode(self._announcement("heartbeat", self._seq)))
        for entry in legacy.take_due(now):
            self._seq = next(self._numbers)
            self.stats.sent_legacy(entry)
            datagrams.append(encode_plain(entry, self._announcement("nodes", self._seq)))
        return datagrams

    def _lose(self, now: float) -> None:
        """The router has been silent for long: whoever answers at its address next is treated as a new router."""
        self._queues.clear()
        self._in_flight.clear()
        self._drains.clear()
        self._boot, self._since, self._full_at, self._unanswered_since = "", 0, math.inf, math.inf
        self._announced.try_refused_again()
        self._legacy = LegacyAnnouncer(self._announced.entries.values(), self._heartbeat, now)
        self._probe_at, self._probe_interval = now, MAX_RESEND_INTERVAL

    # Acks in

    def receive(self, ack: Ack, now: float) -> None:
        """The router answered."""
        if ack.seq > self._seq:
            return
        if self._boot and ack.boot != self._boot and ack.seq <= self._newest_acked:
            self._in_doubt = True
            return
        self._last_ack, self._unanswered_since = now, math.inf
        self._silent = False  # what was not asked for meanwhile is overdue
        if ack.boot != self._boot or self._legacy:
            self._meet(ack.boot, now)
        if ack.result == "again":
            self._in_flight.resend_now(ack.seq, now)
            return
        self._newest_acked = max(self._newest_acked, ack.seq)
        packet = self._in_flight.acked(ack.seq)
        if packet is not None:
            self._congestion.acked(now - packet.sent_at, packet.resends)
            if packet.resends:
                self._in_flight.answered_again(now)
            self._queues.settled(packet.entries)
            if len(packet.entries) > 1 and ack.result == "applied":
                # The nodes that drain once more, each alone, as only that tells how many requests run there.
                self._queues.again(entry_id(entry) for entry in packet.entries if entry.drain)
        self.stats.acked(packet, ack, now)
        if ack.result == "behind":
            self._take_over(ack.instance, now)
        elif ack.result == "refused":
            self._on_refused(packet, ack.reason or "no reason given", now)
        elif ack.result == "full" and packet is not None:
            self._on_full(packet, now)
        elif ack.result == "applied":
            self._on_applied(packet, ack, now)

    def _meet(self, boot: str, now: float) -> None:
        """First contact, or the router is not the one it was: it needs everything."""
        self._legacy, self._boot, self._in_doubt = None, boot, False
        self._in_flight.clear()
        self._queues.stranger()
        self._drains.clear()
        self._since, self._fulls, self._full_at = 0, 0, now

    def _begin_full(self) -> None:
        self._announced.try_refused_again()
        self._in_flight.forget_joins()
        self._queues.all(self._announced.entries)
        self._since, self._full_at = self._seq + 1, math.inf

    def _on_applied(self, packet: Packet | None, ack: Ack, now: float) -> None:
        self._drains.answered(packet, ack.seq, ack.in_flight, now)
        if packet is None or packet.op == "nodes":
            return
        if packet.op == "mark":
            self._since = 0
        self._fulls = 0
        self._next_heartbeat = now + self._heartbeat
        self.problem = next(iter(self._announced.refused.values()), "")

    def _on_full(self, packet: Packet, now: float) -> None:
        if self._full_at < math.inf or (self._since and packet.op == "nodes"):
            return  # it is under way
        if self._fulls > 1:
            self.problem = f"asked for everything {self._fulls} times in a row"
        self._full_at = now + min(2.0 ** (self._fulls - 1), MAX_FULL_PAUSE) if self._fulls else now
        self._fulls += 1
        self._since = 0

    def _on_refused(self, packet: Packet | None, reason: str, now: float) -> None:
        self.problem = f"refused: {reason}"
        if packet is not None and any(entry.state is not None for entry in packet.entries):
            self.problem += "; a version without pauses and maintenance says so of them"
        if packet is None:
            return
        if packet.op != "nodes":
            self._since = 0
            self._next_heartbeat = now + self._heartbeat
        elif len(packet.entries) == 1:
            self._announced.refuse(packet.entries[0], self.problem)
        else:
            # One bad entry spoils its whole packet: each on its own, so that it spoils no other.
            names = [entry_id(entry) for entry in packet.entries if not entry.gone]
            self._queues.again(name for name in names if name in self._announced.entries)

    def _take_over(self, instance: int, now: float) -> None:
        """Another instance of our name is in charge; we are alive, so it is not."""
        if instance < self._instance:
            return  # said before we took over
        if self._takeovers.add(now):
            self.problem = f"another controller announces under the same name, {self._source!r}"
        self._instance = instance + 1
        self._in_flight.clear()
        self._queues.stranger()
        self._drains.clear()
        self._since, self._full_at = 0, now

    # For people

    @property
    def boot(self) -> str:
        """The boot id of the router that answers; empty while none does."""
        return self._boot

    def in_flight(self) -> dict[EntryId, int]:
        """Requests that run on drained nodes, as the router told last."""
        return self._drains.in_flight()

    @property
    def acks(self) -> bool:
        """True while the router answers."""
        return self._legacy is None and not self._silent

    def lacks(self, names: Collection[EntryId] | None = None) -> str:
        """Why the router may not have what is desired (of the entries ``names``, if given); empty: it has acked it."""
        if self._legacy:
            return "it does not ack: an original uWSGI, or not there"
        if self._silent:
            return "it does not answer"
        refused = [why for name, why in self._announced.refused.items() if names is None or name in names]
        waits = bool(self._queues or self._in_flight.entries or self._since)
        if names is not None:
            waits = self._queues.contains(names) or any(map(self._in_flight.carries, names))
        return refused[0] if refused else "it has not acked yet" if waits or self._full_at < math.inf else ""

    def status(self, now: float) -> dict[str, object]:
        """This session as JSON; ``pending``: entries that the router is not known to have."""
        pending = self._legacy.pending if self._legacy else len(self._queues) + self._in_flight.entries
        return {
            "state": "original" if self._legacy else "silent" if self._silent else "acked",
            "boot_id": self._boot or None,
            "entries": self._announced.count,
            "pending": pending,
            "asked_again": self._resent,
            "last_ack_age": round(now - self._last_ack, 3) if self._last_ack > -math.inf else None,
            "withdrawn": self._drains.status(),
            "refused": [f"{key}@{address}: {why}" for (key, address, _), why in self._announced.refused.items()],
            "problem": self.problem or None,
        }
