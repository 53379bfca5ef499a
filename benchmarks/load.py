"""Load: wrk for requests, a client of our own for bytes.  Each run is bounded and says what failed."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
_KEYS = """
local count, number, ready = %d, 0, {}
init = function()
  for n = 0, count - 1 do wrk.headers["Host"] = "k" .. n .. ".example.com"; ready[n] = wrk.format("GET", "/") end
end
request = function() number = (number + 7919) %% count; return ready[number] end
"""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Answered:
    """Of one run of wrk: times in ms; ``failed`` are answers that were none, or no 2xx."""

    requests: int
    rate: float
    p50: float
    p99: float
    failed: int


def requests(port: int, path: str, seconds: int, connections: int, keys: int = 0, host: str = "foo.com",
             fresh: bool = False) -> Answered:  # fmt: skip
    """wrk with a browser's headers for ``seconds``, over ``keys`` hosts in turn or one.

    ``fresh``: each request has a connection of its own.
    """
    headers = BROWSER | ({} if keys else {"Host": host}) | ({"Connection": "close"} if fresh else {})
    words = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_KEYS % keys)
        script.flush()
        varied = ["-s", script.name] if keys else []
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *varied, *words,
                   f"http://127.0.0.1:{port}{path}"]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 10)
        except subprocess.TimeoutExpired:
            return Answered(0, 0.0, 0.0, 0.0, connections)  # wrk waits for its first answers for ever
    answered = _parse(done.stdout + done.stderr)
    # wrk calls a request failed after 2 s only: a turn without a single answer must not look like one without failures.
    return answered if answered.requests else replace(answered, failed=answered.failed + connections)


def _parse(text: str) -> Answered:
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not total or not rate:
        raise RuntimeError(f"wrk said: {text}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Answered(int(total[1]), float(rate[1]), _time(text, "50%"), _time(text, "99%"), failed)


def _time(text: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """Of one download or upload."""

    seconds: float
    failed: int


def download(port: int, size: int) -> Moved:
    """One answer of ``size`` bytes, read to its end."""
    begun, buffer = time.monotonic(), bytearray(1 << 18)
    with _connection(port) as client:
        client.sendall(b"GET /size/%d HTTP/1.1\r\nHost: foo.com\r\nConnection: close\r\n\r\n" % size)
        got, head = 0, b""
        while b"\r\n\r\n" not in head and (data := client.recv(4096)):
            head += data
        got = len(head) - head.find(b"\r\n\r\n") - 4
        while count := client.recv_into(buffer):
            got += count
    return Moved(time.monotonic() - begun, int(got != size))


def upload(port: int, size: int) -> Moved:
    """One request with a body of ``size`` bytes; the application answers how many it read."""
    begun, chunk = time.monotonic(), b"x" * (1 << 18)
    with _connection(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: foo.com\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        while left > 0:
            client.sendall(chunk[:left])
            left -= min(left, len(chunk))
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    return Moved(time.monotonic() - begun, int(not answer.endswith(b"\r\n\r\n%d" % size)))


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)
