"""Is the worker there?  One attempt at a time, for a thread that has nothing else to do.

A probe with a path is a GET in the worker's own protocol, as a client of the key would send it.  Any status below 500
is a yes, but 400: that says that the request was not understood (another protocol, a Host that is refused), and nothing
of the path.  Without a path a connection that is accepted is a yes.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable

from fastroute.router.wire import encode_packet, encode_vars

#: Seconds: a connect; a GET (an import of the application may take long, and the answer comes when it is done).
CONNECT_TIMEOUT, GET_TIMEOUT = 1.0, 10.0
#: Between attempts: at least, this share of the time waited so far, and at most.
PAUSE, SHARE, LONGEST_PAUSE = 0.04, 0.02, 1.0
_PORT = re.compile(r":([0-9]+)\Z")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
#: gunicorn sends 103 (early hints) as soon as the application says so, and 500 after it all the same.
_INTERIM = re.compile(rb"HTTP/\d\.\d 1(?!01)\d\d")
#: Bytes of an answer that have its status, and of an interim one that is waited for.
_TELLING, _LONGEST_INTERIM = 12, 16_384


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
    while _INTERIM.match(answer) and (behind := answer.find(b"\r\n\r\n") + 4) >= 4:
        answer = answer[behind:]
    return answer


def undecided(answer: bytes) -> bool:
    """Whether more of what :func:`final` gave has to come before there is a verdict."""
    return len(answer) < _TELLING or (_INTERIM.match(answer) is not None and len(answer) < _LONGEST_INTERIM)


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


def attempt(target: tuple[str, int] | str, packet: bytes, path: str) -> str:
    """One attempt at ``target`` (IP and port, or a path), with ``packet`` if there is one: what went wrong."""
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(target)
            if not packet:
                return ""
            sock.settimeout(GET_TIMEOUT)
            ends = time.monotonic() + GET_TIMEOUT
            sock.sendall(packet)
            answer = b""
            while undecided(answer) and (data := sock.recv(4096)):
                answer = final(answer + data)
                sock.settimeout(max(0.001, ends - time.monotonic()))
        except OSError as error:
            return f"{'GET ' + path if packet else 'connect'}: {error.strerror or error}"
    return verdict(path, answer)


class ProbeThread:
    """Attempts on a thread of its own until one succeeds; then ``found`` is called there, once."""

    def __init__(self, once: Callable[[], str], found: Callable[[], None]) -> None:
        self.problem = ""
        """What the last attempt said."""
        self._once, self._found = once, found
        self._over = threading.Event()
        threading.Thread(target=self._run, name="probe", daemon=True).start()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._over.set()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._over.is_set():
            self.problem = self._once()
            if not self.problem:
                if not self._over.is_set():
                    self._found()
                return
            self._over.wait(min(max(PAUSE, SHARE * (time.monotonic() - started)), LONGEST_PAUSE))
