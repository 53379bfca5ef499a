"""Asks ourselves for a host's challenge first, as the CA would: a name that does not come here is never asked for.

One edge.  It looks the host up, connects to each address, follows redirects as CAs do (without looking at
certificates, as they do), and compares what comes back with a secret of the moment.
"""

from __future__ import annotations

import secrets
import ssl
import time
from dataclasses import dataclass
from socket import SOCK_STREAM, create_connection, getaddrinfo, socket
from urllib.parse import urljoin, urlsplit

from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.decide.hosts import CHALLENGE_PATH
from fastroute.router.protocol.address import Address, join_host_port

HTTP_PORT, HTTPS_PORT = 80, 443
#: Seconds of one request's steps, and of all of them; addresses of one name; redirects; bytes of an answer.
STEP_TIMEOUT, CHECK_TIMEOUT = 5.0, 20.0
MAX_ADDRESSES, MAX_REDIRECTS, MAX_ANSWER = 4, 5, 4096
_REDIRECTS = (301, 302, 303, 307, 308)


class NotHere(Exception):
    """The host does not come here; the message says where it goes and what is there."""


class _NotAnswered(Exception):
    """One address does not answer our challenge."""


class _Unreachable(Exception):
    """One address can't be connected to."""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """``address``: where to connect to, whatever the host resolves to."""

    responder: ChallengeResponder
    address: Address | None = None

    def check(self, host: str) -> None:
        """Return once ``host`` has answered our challenge; else :class:`NotHere`.

        Where it has several addresses, those that can't be connected to don't count if another one answers (one of two
        machines may be down, and we may have no IPv6); something else that answers does.
        """
        token, nonce = f"self-check-{secrets.token_urlsafe(12)}", secrets.token_urlsafe(24)
        deadline = time.monotonic() + CHECK_TIMEOUT
        answered, silent = False, ""
        with self.responder.answering(token, nonce):
            for ip, port in self._targets(host):
                try:
                    _ask(host, (ip, port), f"{CHALLENGE_PATH}/{token}", nonce, deadline)
                    answered = True
                except _Unreachable as error:
                    silent = silent or self._text(host, ip, port, str(error))
                except (_NotAnswered, OSError, ValueError) as error:
                    why = _why(error) if isinstance(error, OSError) else str(error)
                    raise NotHere(self._text(host, ip, port, why)) from None
        if not answered:
            raise NotHere(silent)

    def _text(self, host: str, ip: str, port: int, why: str) -> str:
        where = ip if port == HTTP_PORT else join_host_port(ip, port)
        verb = "resolves to" if self.address is None else "is looked for at"
        return f"{host} {verb} {where}, where our challenge is not answered: {why}"

    def _targets(self, host: str) -> list[tuple[str, int]]:
        name, port = (host, HTTP_PORT) if self.address is None else (self.address.host, self.address.port)
        try:
            rows = getaddrinfo(name or "127.0.0.1", port, type=SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no host name"
            raise NotHere(f"{name} does not resolve: {why}") from None
        return list(dict.fromkeys((str(row[4][0]), port) for row in rows))[:MAX_ADDRESSES]


def _ask(host: str, target: tuple[str, int], path: str, nonce: str, deadline: float) -> None:
    url = f"http://{host}{path}"
    for _ in range(MAX_REDIRECTS + 1):
        status, location, body = _get(url, target, deadline)
        if status not in _REDIRECTS or not location:
            if status == 200 and body.strip() == nonce.encode():
                return
            raise _NotAnswered(
                "something else answers there with 200" if status == 200 else f"{status} comes from there"
            )
        url = urljoin(url, location)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _NotAnswered(f"it redirects to {location[:80]!r}")
        # As a CA does it: by the name that the redirect says; ours stays where we were sent to connect.
        port = parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)
        target = (target[0] if parts.hostname == host else parts.hostname, port)
    raise _NotAnswered(f"over {MAX_REDIRECTS} redirects")


def _get(url: str, target: tuple[str, int], deadline: float) -> tuple[int, str, bytes]:
    """Status, Location and the beginning of the body of ``url``, asked for at ``target``."""
    parts = urlsplit(url)
    timeout = min(STEP_TIMEOUT, deadline - time.monotonic())
    if timeout <= 0:
        raise TimeoutError(f"no answer within {CHECK_TIMEOUT:g} s")
    try:
        sock = create_connection(target, timeout)
    except OSError as error:
        raise _Unreachable(_why(error)) from None
    try:
        if parts.scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
        target_path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"GET {target_path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: fastroute-certs\r\nConnection: close"
        sock.sendall(f"{head}\r\n\r\n".encode("ascii"))
        return _read_answer(sock, deadline)
    finally:
        sock.close()


def _read_answer(sock: socket, deadline: float) -> tuple[int, str, bytes]:
    data = b""
    while len(data) < 4 * MAX_ANSWER and time.monotonic() < deadline:
        piece = sock.recv(MAX_ANSWER)
        if not piece:
            break
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        length = _header(head, b"content-length")
        if end and length.isdigit() and len(length) < 8 and len(body) >= int(length):
            break
    head, end, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if not end or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise _NotAnswered("no HTTP answer comes from there" if data else "the connection is closed without an answer")
    if b"chunked" in _header(head, b"transfer-encoding").lower():
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size or b"0", 16)]
    return int(words[1][:4]), _header(head, b"location").decode("ascii", "replace"), body[:MAX_ANSWER]


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.strip().lower() == name:
            return value.strip()
    return b""


def _why(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
