"""``one_thread.py REQUESTS [nginx]``: a relay, its client and its worker in one thread, which take turns; HTTP/1.1, all
connections kept.  Nothing depends on who runs when, so that instructions can be counted (kept_parts.py).

Whatever Python runs it has to have ``fastroute``, and no more.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
from typing import Any, Final

from fastroute.router.relay.loop import Relay

PLAIN: Final = b"GET / HTTP/1.1\r\nHost: foo.com\r\n\r\n"
#: What nginx makes of it (compose/nginx/nginx-http.conf).
FROM_NGINX: Final = (
    b"GET / HTTP/1.1\r\nHost: foo.com\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
    b"X-Forwarded-Host: foo.com\r\nX-Forwarded-Port: 80\r\nX-Real-IP: 127.0.0.1\r\nX-Request-Start: t=%d\r\n\r\n"
)
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class Over(Exception):
    """All requests are done."""


class Turns:
    """Stands for the relay's epoll: while the relay has nothing to do, client and worker do their next step."""

    def __init__(self, epoll: select.epoll, front: socket.socket, worker: socket.socket, control: socket.socket,
                 requests: int, head: bytes) -> None:  # fmt: skip
        self.register, self.modify, self.unregister = epoll.register, epoll.modify, epoll.unregister
        self._poll, self._control = epoll.poll, control
        self._head = head
        self._steps = self._take_turns(front, worker, requests)

    def poll(self, _: float, most: int) -> list[tuple[int, int]]:
        """Events of the relay."""
        while not (events := self._poll(0, most)):
            try:
                self._control.recv(65_536)
            except BlockingIOError:
                next(self._steps)
        return events

    def _take_turns(self, front: socket.socket, worker: socket.socket, requests: int) -> Any:
        client = socket.create_connection(front.getsockname())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream = None
        for number in range(requests):
            client.sendall(self._head % (1_700_000_000_000 + number) if b"%d" in self._head else self._head)
            yield
            if upstream is None:
                upstream, _ = worker.accept()
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert upstream.recv(65_536).endswith(b"\r\n\r\n")
            upstream.sendall(ANSWER)
            yield
            assert client.recv(65_536) == ANSWER
        raise Over


def main() -> None:
    """Run the relay until all requests are done."""
    requests, head = int(sys.argv[1]), FROM_NGINX if sys.argv[2:] == ["nginx"] else PLAIN
    front, worker = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    control, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lifeline, wakeups = os.pipe(), os.pipe2(os.O_NONBLOCK)
    relay = Relay({"admin": None}, [], channel.detach(), lifeline[0], 4096, http_listeners=[os.dup(front.fileno())])
    address = f"127.0.0.1:{worker.getsockname()[1]}"
    ops = [["reset"], ["pool", "foo.com", {}], ["node", "foo.com", address, {"protocol": "http"}], ["done"]]
    control.send(json.dumps({"v": 1, "epoch": "e", "ops": ops}).encode())
    control.setblocking(False)
    turns: Any = Turns(relay.context.epoll, front, worker, control, requests, head)
    relay.context.epoll = turns
    # As in the relay's own main.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        relay.run(wakeups[0])
    except Over:
        pass


if __name__ == "__main__":
    main()
