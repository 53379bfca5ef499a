"""Asks the router for foo.com, again and again, and says at the end what came back: inside the router's container."""

import socket
import sys
import time
from collections import Counter

from fastroute.router.protocol.wire import encode_packet, encode_vars

VARS = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "PATH_INFO": "/", "QUERY_STRING": "", "HTTP_HOST": "foo.com",
        "SERVER_NAME": "foo.com", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": ""}  # fmt: skip
PACKET = encode_packet(0, 0, encode_vars((name.encode(), value.encode()) for name, value in VARS.items()))

statuses, workers, until = Counter(), set(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    with socket.create_connection(("127.0.0.1", 3031), 10) as connection:
        connection.sendall(PACKET)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    statuses[answer[9:12].decode()] += 1
    workers.add(answer.rpartition(b"\r\n\r\n")[2].decode())
    time.sleep(0.005)
print("statuses:", dict(statuses), "workers:", len(workers))
sys.exit(set(statuses) != {"200"})
