"""HTTP to the CA, bounded in size and time whatever it sends.  One edge: a thread with an event loop.

The library ``acme`` reads with ``requests``, whose time-outs are per read; here an answer has its time as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from acme.client import ClientNetwork

import fastroute
from fastroute.certs.ca.failures import CaLimit, CaTrouble, limited_domain, seconds_of
from fastroute.certs.decide.schedule import DEFAULT_HOLD, MAX_HOLD
from fastroute.router.runtime.http_client import httpx

#: Seconds of a whole exchange, to connect, and to close; bytes of an answer; connections that are kept.
REQUEST_TIMEOUT, CONNECT_TIMEOUT, CLOSE_TIMEOUT = 45.0, 10.0, 3.0
MAX_ANSWER = 1 << 20
MAX_CONNECTIONS = 16
#: Times that a request is sent again because the CA did not like its nonce.
MAX_NONCES = 12


class CaTransport:
    """HTTP with the CA whose directory is at ``directory``; ``ca_file``: who may have signed its certificate, too."""

    def __init__(self, directory: str, ca_file: str | None, timeout: float = REQUEST_TIMEOUT) -> None:
        self._scheme, self._timeout = urlsplit(directory).scheme, timeout
        self._held_until = 0.0
        context: ssl.SSLContext | bool = False
        if self._scheme == "https":
            context = httpx.create_ssl_context()
            if ca_file is not None:
                context.load_verify_locations(ca_file)
        self._client = httpx.AsyncClient(
            verify=context,
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            # What is packed would have to be unpacked before its size is known.
            headers={"User-Agent": f"fastroute-certs/{fastroute.__version__}", "Accept-Encoding": "identity"},
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ca", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(CLOSE_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_TIMEOUT)
        if not self._thread.is_alive():
            self._loop.close()

    def hold(self, seconds: float) -> None:
        """Begin nothing new before ``seconds`` are over: the CA said so to one of the attempts under way."""
        self._held_until = max(self._held_until, time.monotonic() + min(seconds or DEFAULT_HOLD, MAX_HOLD))

    def refuse_if_held(self) -> None:
        """:class:`CaLimit` while nothing new may begin."""
        left = self._held_until - time.monotonic()
        if left > 0:
            raise CaLimit("the CA has just said that we ask too much", left)

    def exchange(self, method: str, url: str, data: str | None, headers: dict[str, str]) -> requests.Response:
        """The CA's answer; :class:`CaTrouble` when there is none."""
        parts = urlsplit(url)
        if parts.scheme != self._scheme or not parts.hostname:
            raise CaTrouble(f"the CA names {url[:80]!r}, which is no {self._scheme} address")
        future = asyncio.run_coroutine_threadsafe(self._exchange(method, url, data, headers), self._loop)
        return future.result()

    async def _exchange(self, method: str, url: str, data: str | None, headers: dict[str, str]) -> requests.Response:
        place = urlsplit(url).netloc
        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.build_request(method, url, content=data, headers=headers)
                answer = await self._client.send(request, stream=True)
                try:
                    body = bytearray()
                    async for piece in answer.aiter_raw():
                        body += piece
                        if len(body) > MAX_ANSWER:
                            raise CaTrouble(f"the CA at {place} answers with over {MAX_ANSWER:,} bytes")
                finally:
                    await answer.aclose()
        except (TimeoutError, httpx.TimeoutException):
            raise CaTrouble(f"the CA at {place} does not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError) as error:
            raise CaTrouble(f"the CA at {place} can't be reached: {error or type(error).__name__}") from None
        return _as_requests(answer, bytes(body), url)


def _as_requests(answer: httpx.Response, body: bytes, url: str) -> requests.Response:
    """What the library reads."""
    response = requests.Response()
    response.status_code, response.url, response.encoding = answer.status_code, url, "utf-8"
    response.headers.update(dict(answer.headers))
    response._content = body
    return response


class CaNetwork(ClientNetwork):
    """The library's network over :class:`CaTransport`, of one attempt for ``host``."""

    def __init__(self, transport: CaTransport, host: str, **key_and_account: Any) -> None:
        super().__init__(**key_and_account)
        self._transport, self._host = transport, host
        #: Seconds that the last answer asked us to wait.
        self.retry_after = 0.0
        #: Of the last answer.
        self.status = 0

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        data = kwargs.get("data")
        response = self._transport.exchange(method, url, data, kwargs.get("headers") or {})
        self.status = response.status_code
        self.retry_after = seconds_of(response.headers.get("Retry-After", ""), time.time())
        if response.status_code == 429:
            text = _detail(response)
            domain = limited_domain(text, self._host)
            if not domain:
                self.hold()
            raise CaLimit(f"the CA says: {text}", self.retry_after, domain)
        if response.status_code >= 500:
            raise CaTrouble(f"the CA answers {response.status_code}: {_detail(response)}", self.retry_after)
        return response

    def hold(self) -> None:
        """The last answer was a limit: nobody begins anything new before it is over."""
        self._transport.hold(self.retry_after)

    def refuse_if_held(self) -> None:
        """:class:`CaLimit` while nothing new may begin."""
        self._transport.refuse_if_held()

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """The library asks again once after a nonce that was refused; CAs under load refuse several."""
        for _ in range(MAX_NONCES - 1):
            try:
                return self._post_once(*args, **dict(kwargs))
            except Exception as error:
                if getattr(error, "code", None) != "badNonce":
                    raise
                self._nonces.clear()
        return self._post_once(*args, **dict(kwargs))


def _detail(response: requests.Response) -> str:
    """The text of an error."""
    try:
        problem = response.json()
        detail = problem.get("detail") if isinstance(problem, dict) else None
    except (ValueError, RecursionError):
        detail = None
    return str(detail) if detail else f"{response.status_code} without a reason"
