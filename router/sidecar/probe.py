"""Probes whether a worker is ready.  One attempt at a time, for a thread that has nothing else to do.

A probe with a path is a GET in the worker's own protocol, as a client of the key would send it.  It succeeds with any
status below 500 but 400, which says that the request was not understood (another protocol, a Host that is refused), and
nothing of the path.  Without a path it succeeds when the connection is accepted.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable

from fastroute.router.protocol.wire import encode_packet, encode_vars

#: Seconds for a connect, and for a GET (the application may take long to import, and answers when it has).
CONNECT_TIMEOUT, GET_TIMEOUT = 1.0, 10.0
#: Seconds between attempts: this share of the time since the first, but at least and at most these.
PROBE_INTERVAL_SHARE, MIN_PROBE_INTERVAL, MAX_PROBE_INTERVAL = 0.02, 0.04, 1.0
_PORT = re.compile(r":([0-9]+)\Z")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
#: gunicorn sends 103 (early hints) as soon as the application says so, and 500 after it all the same.
_INTERIM = re.compile(rb"HTTP/\d\.\d 1(?!01)\d\d")
#: Bytes of an answer until its status is complete, and of an interim answer at most.
_STATUS_BYTES, _MAX_INTERIM = 12, 16_384


def request(path: str, protocol: str, host: str) -> bytes:
    """The GET of ``path`` in ``protocol``."""
    if protocol == "http":
        lines = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fastroute-probe\r\n"
        return (lines + "Connection: close\r\n\r\n").encode("latin-1")
    path_info, _, query = path.partition("?")
    named = _PORT.search(host)
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": path,
        "PATH_INFO": path_info,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "HTTP_HOST": host,
        "SERVER_NAME": host[: named.start()] if named else host,
        "SERVER_PORT": named[1] if named else "80",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_USER_AGENT": "fastroute-probe",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
    }
    return encode_packet(0, 0, encode_vars((name.encode(), text.encode("latin-1")) for name, text in variables.items()))


def final(answer: bytes) -> bytes:
    """``answer`` without the interim ones (1xx) that have come before it."""
    while _INTERIM.match(answer) and (end := answer.find(b"\r\n\r\n") + 4) >= 4:
        answer = answer[end:]
    return answer


def undecided(answer: bytes) -> bool:
    """Whether more of what :func:`final` gave has to come before there is a verdict."""
    return len(answer) < _STATUS_BYTES or (_INTERIM.match(answer) is not None and len(answer) < _MAX_INTERIM)


def verdict(path: str, answer: bytes) -> str:
    """What is wrong with ``answer``; empty: nothing."""
    status = _STATUS.match(answer)
    if _INTERIM.match(answer):
        return f"GET {path}: nothing but an interim answer, {answer[:40]!r}"
    if status is None:
        return f"GET {path}: no HTTP status line but {answer[:40]!r}"
    if status[1] == b"400":
        return f"GET {path}: status 400, so the request was not understood (is it the protocol, or the host?)"
    return "" if int(status[1]) < 500 else f"GET {path}: status {status[1].decode()}"


def interval(elapsed: float) -> float:
    """Seconds until the next attempt, ``elapsed`` seconds after the first."""
    return min(max(MIN_PROBE_INTERVAL, PROBE_INTERVAL_SHARE * elapsed), MAX_PROBE_INTERVAL)


def attempt(target: tuple[str, int] | str, packet: bytes, path: str) -> str:
    """Make one attempt at ``target`` (IP and port, or a path), with ``packet`` if there is one; returns what failed."""
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(target)
            if not packet:
                return ""
            sock.settimeout(GET_TIMEOUT)
            deadline = time.monotonic() + GET_TIMEOUT
            sock.sendall(packet)
            answer = b""
            while undecided(answer) and (data := sock.recv(4096)):
                answer = final(answer + data)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
        except OSError as error:
            return f"{'GET ' + path if packet else 'connect'}: {error.strerror or error}"
    return verdict(path, answer)


class ProbeThread:
    """Makes attempts on a thread of its own until one succeeds; then calls ``succeeded`` there, once."""

    def __init__(self, make_attempt: Callable[[], str], succeeded: Callable[[], None]) -> None:
        #: Why the last attempt failed.
        self.problem = ""
        self._make_attempt, self._succeeded = make_attempt, succeeded
        self._cancelled = threading.Event()
        threading.Thread(target=self._run, name="probe", daemon=True).start()

    def cancel(self) -> None:
        """Make no more attempts."""
        self._cancelled.set()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._cancelled.is_set():
            self.problem = self._make_attempt()
            if not self.problem:
                if not self._cancelled.is_set():
                    self._succeeded()
                return
            self._cancelled.wait(interval(time.monotonic() - started))
