"""A worker of raw sockets: agrees to any upgrade, then sends back what it gets in upper case."""

import socket
import struct
import threading


def exactly(link, size):
    data = b""
    while len(data) < size:
        data += link.recv(size - len(data))
    return data


def serve(link) -> None:
    with link:
        size = struct.unpack("<xHx", exactly(link, 4))[0]
        exactly(link, size)
        link.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        while data := link.recv(65536):
            link.sendall(data.upper())


with socket.create_server(("0.0.0.0", 3031)) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
