"""Server-sent events: nginx must not hold them back until its buffer is full.  Pure."""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.http.answer import MAX_HEAD

#: What the head of such an answer has in it; looked for first, as almost none has.
EVENT_STREAM: Final = b"event-stream"
#: Bytes of an answer in which it is looked for first; in a long one the end of the head is.
SMALL: Final = 2048
_CONTENT_TYPE: Final = re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream[ \t;\r]", re.IGNORECASE)
_BUFFERING: Final = re.compile(rb"\r\nx-accel-buffering:", re.IGNORECASE)


def unbuffered(data: bytes) -> bytes:
    """``data``, the beginning of an answer, from which nginx learns not to buffer it if these are server-sent events.

    Only where the head is whole, and the worker has not said itself what it wants.
    """
    if len(data) <= SMALL and not data.partition(EVENT_STREAM)[1]:
        return data
    stop = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 2
    if stop < 2 or data.find(EVENT_STREAM, 0, stop) < 0:
        return data
    if _CONTENT_TYPE.search(data, 0, stop) is None or _BUFFERING.search(data, 0, stop) is not None:
        return data
    return b"%bX-Accel-Buffering: no\r\n%b" % (data[:stop], data[stop:])
