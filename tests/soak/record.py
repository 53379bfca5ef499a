"""What a soak writes down, and what it makes of that at the end.  Times are seconds of ``time.monotonic``."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

#: Seconds after a kill in which its losses show: sockets close, nginx notices.
AFTERMATH = 0.5
#: Bytes by which a process may have grown between the first quarter and the end.
GROWTH = 4 << 20
#: Seconds of a good request, at most: nothing that others do stops everybody.  nginx, and the connect time-outs of the
#: key of which one node serves, take some of them.
SLOWEST = 10.0
#: By name of a process: bytes and descriptors.
Sizes = dict[str, tuple[int, int]]


@dataclass
class Loss:
    """A good request that failed.  ``mortal``: workers of its key are killed."""

    began: float
    ended: float
    method: str
    answered: bool
    what: str
    mortal: bool


@dataclass
class Record:
    """What happened; appended to by all threads (appending is atomic)."""

    seconds: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    kills: list[tuple[float, str]] = field(default_factory=list)
    deeds: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def explained(self, loss: Loss) -> str:
        """The kill that explains it; empty when there is none."""
        for at, what in self.kills:
            if loss.began - AFTERMATH <= at <= loss.ended + 0.01 and (
                what == "relay" or (loss.mortal and (loss.method == "POST" or loss.answered))
            ):
                return what
        return ""


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def summary(record: Record, calm: Sizes, end: Sizes) -> int:
    """Print what happened; 1 when something is not as it must be."""
    times = sorted(record.seconds)
    reasons = Counter(record.explained(loss) for loss in record.losses)
    unexplained = [loss for loss in record.losses if not record.explained(loss)]
    kinds = ", ".join(f"{count} {kind}" for kind, count in record.kinds.items())
    half, most = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    print(f"requests     {len(times)} ({kinds}), p50 {half:.1f} ms, p99 {most:.1f} ms")
    print("trouble      " + ", ".join(f"{count} {deed}" for deed, count in sorted(record.deeds.items())))
    lost = f"{reasons['relay']} with a killed relay, {reasons['worker']} with a worker, {len(unexplained)} unexplained"
    print(f"lost         {len(record.losses)}: {lost}")
    grown = False
    for name in ("relay", "control"):
        (bytes_then, open_then), (bytes_now, open_now) = calm[name], end[name]
        grown |= bytes_now - bytes_then > GROWTH or open_now > open_then
        print(f"{name:12} {bytes_then >> 10} -> {bytes_now >> 10} KiB, {open_then} -> {open_now} descriptors")
    for loss in unexplained[:20]:
        kills = [f"{at - loss.began:+.2f} {what}" for at, what in record.kills if abs(at - loss.began) < 3]
        print(f"unexplained  {loss.method} {loss.what}, took {loss.ended - loss.began:.3f} s; kills: {kills}")
    for broken in record.broken:
        print(f"broken       {broken}")
    slow = times[-1] > SLOWEST
    if slow:
        print(f"slow         a good request took {times[-1]:.1f} s; {SLOWEST:g} s are allowed")
    bad = bool(unexplained or grown or record.broken or slow)
    print("NOT CLEAN" if bad else "clean")
    return int(bad)
