"""A uwsgi client as nginx is one: a packet out, an answer in.  And datagrams for subscription servers."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from fastroute.router.protocol.wire import encode_packet, encode_vars


@dataclass(frozen=True)
class Answer:
    """What came back.  ``status`` 0: the connection ended without a byte."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def node(self) -> str:
        """First word of the body: the name of the worker that answered."""
        return self.body.split(b" ")[0].decode() if self.status == 200 else ""


def request_packet(host: str | None, method: str = "GET", path: str = "/", body: bytes = b"", **more: str) -> bytes:
    """A request as nginx's uwsgi_params write it; ``more`` replaces or adds vars."""
    path_info, _, query = path.partition("?")
    variables = {
        "QUERY_STRING": query, "REQUEST_METHOD": method, "CONTENT_TYPE": "",
        "CONTENT_LENGTH": str(len(body)) if body else "", "REQUEST_URI": path, "PATH_INFO": path_info,
        "DOCUMENT_ROOT": "/usr/share/nginx/html", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "203.0.113.9", "REMOTE_PORT": "50000", "SERVER_PORT": "80", "SERVER_NAME": "_",
    }  # fmt: skip
    if host is not None:
        variables["HTTP_HOST"] = host
    variables |= more
    block = encode_vars((key.encode(), value.encode("latin-1")) for key, value in variables.items())
    return encode_packet(0, 0, block) + body


def read_answer(connection: socket.socket) -> Answer:
    """Everything until the connection ends, as an :class:`Answer`."""
    data = b""
    while chunk := connection.recv(1 << 16):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        return Answer(0)
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status_line.split()[1]), headers, body)


def ask(address: int | str, host: str | None, **rest: str | bytes) -> Answer:
    """One request to a port of 127.0.0.1 or a unix socket path."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(("127.0.0.1", address) if isinstance(address, int) else address)
        connection.sendall(request_packet(host, **rest))  # type: ignore[arg-type]
        try:
            return read_answer(connection)
        except ConnectionResetError:
            return Answer(0)


def subscription_packet(key: str, address: str, *, leave: bool = False, **more: object) -> bytes:
    """A packet as a uWSGI worker sends it."""
    fields = {"key": key, "address": address, "modifier1": 0, "modifier2": 0, "cores": 1, "load": 0, "weight": 0} | more
    block = encode_vars((name.encode(), str(value).encode("latin-1")) for name, value in fields.items())
    return encode_packet(224, int(leave), block)


def send_datagram(port: int, datagram: bytes) -> None:
    """Send to a UDP port of 127.0.0.1 from a fresh socket, as uWSGI workers do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(datagram, ("127.0.0.1", port))
