"""The fake engine's HTTP, on a unix socket."""

from __future__ import annotations

import json
import re
import socketserver
import time
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from support.fake_docker import Event, FakeDocker


class Failure(Exception):
    """Docker's answer is an error, of ``status``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    docker: FakeDocker


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Connections end when and how they like."""
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = re.sub(r"^/v\d+\.\d+", "", url.path)
        self.server.docker.asked.append(("GET", path))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if path == "/events":
            self._events(query)
        else:
            self._call(path, json.loads(query.get("filters", "{}")))

    def do_POST(self) -> None:
        self.server.docker.asked.append(("POST", self.path))
        self._reply(403, b"{}")

    def _call(self, path: str, filters: dict[str, list[str]]) -> None:
        try:
            answer = self.server.docker.answer(path, filters)
        except Failure as error:
            self._reply(error.status, json.dumps({"message": str(error)}).encode())
        except PermissionError:
            self._reply(403, b"{}")
        else:
            body = {"message": f"No such container: {path.split('/')[-2]}"} if answer is None else answer
            text = body if isinstance(body, str) else json.dumps(body)
            self._reply(404 if answer is None else 200, text.encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _events(self, query: dict[str, str]) -> None:
        filters = json.loads(query.get("filters", "{}"))
        since, until = (int(Decimal(query[name]) * 10**9) if name in query else None for name in ("since", "until"))
        past, stream = self.server.docker.subscribe(since or time.time_ns())
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in past:
            if until is None or event["timeNano"] <= until:
                self._event(event, filters)
        while until is None and (live := stream.get()) is not None:
            self._event(live, filters)
        if until is not None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _event(self, event: Event, filters: dict[str, list[str]]) -> None:
        action = event["Action"].partition(":")[0]
        if event["Type"] in filters.get("type", [event["Type"]]) and action in filters.get("event", [action]):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
