"""The cookie by which a client stays with its node: read from requests, set in answers.  Pure.

Reading is one pass over HTTP_COOKIE, and takes the first :data:`MAX_VALUES` cookies of the name: a browser sends those
of longer paths first, and has several where a host has keys with a path.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.vars import variable, variables

#: Cookies of one name in a request that are looked at.
MAX_VALUES: Final = 8
_BLANKS: Final = b" \t"
#: A path that browsers compare with that of a request as it is.
_PLAIN_PATH: Final = re.compile(rb"/[A-Za-z0-9._~/-]*")


class SessionCookie:
    """The cookie called ``name``, for requests with a path below ``path``."""

    __slots__ = ("_attributes", "_name", "_pattern")

    def __init__(self, name: bytes, path: bytes) -> None:
        self._name = name
        self._pattern = re.compile(rb"(?:^|;)[ \t]*" + re.escape(name) + rb"=([^;]*)")
        # A path that can be written in several ways gets a cookie for all of the host, or clients would not send it.
        cookie_path = path if _PLAIN_PATH.fullmatch(path) else b"/"
        self._attributes = b"; Path=%b; HttpOnly; SameSite=Lax" % cookie_path

    def values(self, packet: bytes, end: int) -> list[bytes]:
        """The values that the request with the vars ``packet[4:end]`` has for it, in their order."""
        cookies = variable(packet, end, b"HTTP_COOKIE")
        if self._name not in cookies:
            return []
        values = []
        for match in self._pattern.finditer(cookies):
            values.append(match[1].strip(_BLANKS))
            if len(values) == MAX_VALUES:
                break
        return values

    def line(self, value: bytes, packet: bytes, end: int) -> bytes:
        """The header line that sets it to ``value``, in the answer to the request with these vars."""
        request = variables(packet, end)
        https = request.get(b"HTTPS", b"").lower() in (b"on", b"1") or request.get(b"REQUEST_SCHEME") == b"https"
        secure = b"; Secure" if https else b""
        return b"Set-Cookie: %b=%b%b%b\r\n" % (self._name, value, self._attributes, secure)


def with_line(answer: bytes, line: bytes) -> bytes:
    """``answer``, which begins with a whole first line of its head, with ``line`` behind that."""
    at = answer.find(b"\n") + 1
    return answer[:at] + line + answer[at:] if at > 2 else answer
