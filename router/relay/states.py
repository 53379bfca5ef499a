"""Names of a request's states (the table is in transfer.py), and of what moving its bytes may come to.  Pure."""

from __future__ import annotations

from typing import Final

HEAD: Final = 0
BODY: Final = 1
WAITING: Final = 2
CONNECTING: Final = 3
RELAYING: Final = 4
LINGERING: Final = 5
CLOSED: Final = 6

#: Nothing to decide: go on with the next event.
CONTINUE: Final = 0
#: The worker's answer is over, in order.
ANSWERED: Final = 1
#: The worker ended the connection without a byte of an answer; ``reason`` says how.
NO_ANSWER: Final = 2
#: The worker broke off in the middle of its answer; ``reason`` says how.
BROKEN_OFF: Final = 3
#: The worker's bytes are not an answer; ``reason`` says why.
BAD_ANSWER: Final = 4
#: The client's bytes are not a body; ``reason`` says why.
BAD_BODY: Final = 5
#: Nothing is left to be done: both connections are to be closed.
OVER: Final = 6
