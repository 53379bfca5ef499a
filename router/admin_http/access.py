"""Who may ask the admin HTTP of router and controller for what.

* Health and metrics: whoever reaches the socket.
* Reading (``/v1/...``): whoever reaches the socket and asks for this machine by an address, ``localhost`` or the name
  in ``--admin``.  Another name is what a browser sends that was led here by a foreign page whose name now means our
  address (DNS rebinding); such a page would read all keys and addresses.  Who asks by another name has the token.
* A change is a JSON POST from a unix socket, from loopback with a loopback Host and no foreign Origin (so that no web
  page in somebody's browser can send it), or with the token of ``--admin-token-file``.  None at an address of
  ``--admin-read``.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fastroute.router.admin_http.responses import JSONResponse

#: Paths for everybody: nothing of anybody's is in them but names of keys and nodes in the metrics, which Prometheus
#: asks for by a name.
_OPEN = ("/healthz", "/readyz", "/metrics")


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What requests over one socket have to show."""

    #: Whether the socket is a unix socket, whose file's mode says who may connect.
    unix: bool
    #: The file of ``--admin-token-file``.
    token_file: str | None
    #: The host in ``--admin``.
    name: str = ""
    #: Whether no change is taken here, whoever asks (``--admin-read``).
    read_only: bool = False
    #: The option that gives ``name``.
    option: str = "--admin"


class HostCheck:
    """Passes the requests on to ``app`` that may read; ``policy`` gives the policy for a request."""

    def __init__(self, app: ASGIApp, policy: Callable[[Request], AccessPolicy]) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            request = Request(scope)
            if problem := refuse_host(request, self._policy(request)):
                await JSONResponse({"error": problem}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def refuse_host(request: Request, policy: AccessPolicy) -> str:
    """Why ``request`` may not read anything; empty when it may."""
    given = request.headers.get("host", "")
    host = _host(f"//{given}")
    if policy.unix or not given or _is_address(host) or (host and host in ("localhost", policy.name.lower())):
        return ""
    if _has_token(request, policy.token_file):
        return ""
    token = ", or with Authorization: Bearer and the token of --admin-token-file" if policy.option == "--admin" else ""
    return (
        f"Host {given[:80]!r} is no address, not localhost and not the name in {policy.option}: ask by one of"
        f" these{token}"
    )


def refuse_change(request: Request, policy: AccessPolicy) -> str:
    """Why ``request`` may not change anything; empty when it may."""
    if policy.read_only:
        return "this address is for reading only (--admin-read): changes go to that of --admin"
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "Content-Type: application/json expected"
    if policy.token_file and request.headers.get("authorization", "").partition(" ")[0].lower() == "bearer":
        return "" if _has_token(request, policy.token_file) else "the token is not that of --admin-token-file"
    if policy.unix:
        return ""
    if request.client is None or not _loopback(request.client.host):
        return "a change from elsewhere needs Authorization: Bearer with the token of --admin-token-file"
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not _loopback(_host(f"//{host}")):
        return f"Host {host[:80]!r} is not loopback"
    if origin is not None and (not _loopback(_host(origin)) or urlsplit(origin).netloc != host):
        return f"Origin {origin[:80]!r} is not ours"
    return ""


def _has_token(request: Request, token_file: str | None) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = _token(token_file) if token_file and scheme.lower() == "bearer" else b""
    return bool(token) and hmac.compare_digest(token, given.strip().encode())


def _token(path: str) -> bytes:
    """Read anew for every change: a token is replaced by writing the file."""
    with contextlib.suppress(OSError):
        return Path(path).read_bytes().strip()
    return b""


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback
    return False
