"""Load shedding: how many descriptors are wanted, and which requests are ended when they run short.  Pure.

Those that wait for their client, the longest first.  A client that sends nothing, or holds its last byte back, or reads
nothing, costs a descriptor for as long as its time-out allows, and others must not pay for it.  Requests that have no
worker yet come first, then those that keep one busy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastroute.router.relay.http_client import HttpClient
from fastroute.router.relay.request import Request, Requests
from fastroute.router.relay.states import BODY, HEAD, LINGERING, RELAYING
from fastroute.router.relay.transfer import Transfer

#: Seconds after which a connection without a whole packet counts as one that waits: nginx sends all of it at once.
MAX_HEAD_TIME: Final = 0.1
#: Seconds without a byte after which a request whose packet is whole counts as one that waits.
MAX_SILENCE: Final = 1.0
#: One of how many waiting requests is ended at once, so that looking at all of them is worth it; and the least number.
SHED_SHARE: Final = 8
MIN_SHED: Final = 16


def descriptors_wanted(requests: Requests) -> int:
    """How many descriptors clients and upstream sides have, and need at once when requests come that are awaited.

    Counts some of the latter that have come already, until :func:`forget_arrived` is called.
    """
    return len(requests.by_client) + len(requests.by_upstream) + len(requests.kept) + len(requests.early)


def forget_arrived(requests: Requests) -> None:
    """Find out which awaited requests have come: they need no further descriptor, or have it."""
    requests.early = {fd for fd in requests.early if _is_awaited(requests, fd)}


def _is_awaited(requests: Requests, fd: int) -> bool:
    """Whether nothing is known yet of what the client at ``fd`` wants, and it has had no request before."""
    request = requests.by_client.get(fd)
    if request is not None:
        return request.transfer.state == HEAD
    client = requests.kept.get(fd)
    return client is not None and not client.served


def requests_to_shed(requests: Iterable[Request], now: float) -> list[Request]:
    """Those of ``requests`` that are to be ended."""
    waiting: list[tuple[bool, float, int, Request]] = []
    for request in requests:
        transfer = request.transfer
        if transfer.state == HEAD:
            # From its beginning: a byte now and then is no packet.
            if not request.packet and request.accepted + MAX_HEAD_TIME <= now:
                waiting.append((False, request.accepted, transfer.client.fd, request))
        elif transfer.state == LINGERING:
            waiting.append((False, transfer.last_activity, transfer.client.fd, request))
        elif transfer.last_activity + MAX_SILENCE <= now and _waits_for_client(transfer):
            waiting.append((True, transfer.last_activity, transfer.client.fd, request))
    waiting.sort()
    return [request for _, _, _, request in waiting[: max(MIN_SHED, len(waiting) // SHED_SHARE)]]


def clients_to_shed(clients: Iterable[HttpClient], now: float) -> list[HttpClient]:
    """Those HTTP clients without a request whose connections are to be closed: half of them, the longest waiting."""
    waiting = [(client.since, client.connection.fd, client) for client in clients
               if not client.ahead and client.since + MAX_HEAD_TIME <= now]  # fmt: skip
    waiting.sort(key=lambda row: row[:2])
    return [client for _, _, client in waiting[: (len(waiting) + 1) // 2]]


def _waits_for_client(transfer: Transfer) -> bool:
    if transfer.state == BODY:
        return True
    if transfer.state != RELAYING:
        return False
    return bool(transfer.client.pending) or (not transfer.started and transfer.waits_for_body)
