"""Which requests become spans, and what control is told of them.  A request pays for this only with ``--otlp``.

The relay exports nothing: it notes what a span needs of a request that has ended, a bounded number until the next
report; control makes the spans and sends them (control/span_exporter.py).
"""

from __future__ import annotations

import random
import re
from typing import Any, Final

from fastroute.router.relay.access_line import AccessRecord

#: Spans between two reports, each some 300 bytes; more are counted and left out.
MAX_SPANS: Final = 500
#: Characters of a path, and of other texts, in a span.
_MAX_PATH: Final = 256
_MAX_TEXT: Final = 64
_MAX_KEY: Final = 255
#: W3C Trace Context: version, trace, parent, flags; later versions may have more behind them.
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


class SpanSampler:
    """Takes ``share`` of the requests, by ``chance``; of those with a traceparent the ones that are sampled there."""

    def __init__(self, share: float, chance: random.Random) -> None:
        self.rows: list[list[Any]] = []
        #: Spans since the last report that found no room.
        self.dropped = 0
        self._share = share
        self._chance = chance

    def add(self, record: AccessRecord, traceparent: bytes, epoch: float) -> None:
        """A request has ended; ``epoch``: seconds since the epoch at monotonic time 0."""
        trace, parent = "", ""
        match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        if match is not None and match[1] != _NO_TRACE and match[2] != _NO_PARENT:
            if not int(match[3], 16) & 1:
                return
            trace, parent = match[1].decode("ascii"), match[2].decode("ascii")
        elif self._chance.random() >= self._share:
            return
        if len(self.rows) >= MAX_SPANS:
            self.dropped += 1
            return
        client, _, method, uri = record.log_vars[:4]
        path = uri.partition(b"?")[0]
        self.rows.append([
            trace, parent, _text(method, _MAX_TEXT), _text(path, _MAX_PATH), _text(record.key, _MAX_KEY), record.node,
            int(record.status) if record.status.isdigit() else 0, record.fault, _text(client, _MAX_TEXT), record.tries,
            record.sent, record.received, round(record.ended + epoch, 6), round(record.total_time, 6),
            round(record.connect_time, 6), round(record.answer_time, 6), round(record.waited, 6),
        ])  # fmt: skip

    def take(self) -> tuple[list[list[Any]], int]:
        """What there is to report, and how many found no room; both begin anew."""
        rows, self.rows = self.rows, []
        dropped, self.dropped = self.dropped, 0
        return rows, dropped


def _text(value: bytes, size: int) -> str:
    return value[:size].decode("latin-1")
