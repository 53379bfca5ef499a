"""Asks one admin, of a router or a controller, by HTTP.  An edge; it only ever reads.

Answers are bounded in size and time, and big ones are read beside the loop, which answers browsers meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastroute.router.admin_http.asking import ANSWER_TIMEOUT, STREAM_TIMEOUT, bearer, reason_of
from fastroute.router.admin_http.urls import socket_path
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.json_text import read_json

#: Bytes of an answer: a status of 200,000 nodes has fewer.  Characters of a line in a stream of events.
MAX_ANSWER, MAX_LINE = 256 << 20, 1 << 20


class AdminTrouble(Exception):
    """Why an admin gives no answer: one line for people."""


class AdminClient:
    """The admin at ``url``."""

    def __init__(self, url: str, token_file: str | None) -> None:
        self._token_file = token_file
        path = socket_path(url)
        transport = httpx.AsyncHTTPTransport(uds=path) if path else httpx.AsyncHTTPTransport()
        base = "http://localhost" if path else url
        self._http = httpx.AsyncClient(base_url=base, transport=transport, timeout=ANSWER_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Ask no more."""
        await self._http.aclose()

    async def get(self, path: str) -> Any:
        """The JSON at ``path``; ``AdminTrouble`` when there is none."""
        with _translated():
            async with (
                asyncio.timeout(ANSWER_TIMEOUT),
                self._http.stream("GET", path, headers=bearer(self._token_file)) as answer,
            ):
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise AdminTrouble(f"its answer has more than {MAX_ANSWER} bytes")
        if answer.is_error:
            text = bytes(body[:200]).decode("utf-8", "replace").strip()
            raise AdminTrouble(f"it answers {answer.status_code}: {text}")
        try:
            return await asyncio.to_thread(read_json, bytes(body))
        except ValueError:
            raise AdminTrouble("its answer is no JSON") from None

    @asynccontextmanager
    async def lines(self, path: str) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stream that goes on for ever."""
        timeout = httpx.Timeout(ANSWER_TIMEOUT, read=STREAM_TIMEOUT)
        with _translated():
            async with self._http.stream("GET", path, headers=bearer(self._token_file), timeout=timeout) as answer:
                if answer.is_error:
                    raise AdminTrouble(f"it answers {answer.status_code}")
                yield _lines(answer)


async def _lines(answer: httpx.Response) -> AsyncIterator[str]:
    rest = ""
    async for piece in answer.aiter_text():
        *lines, rest = (rest + piece).split("\n")
        if len(rest) > MAX_LINE:
            raise AdminTrouble(f"its stream has a line of more than {MAX_LINE} characters")
        for line in lines:
            yield line


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong on the way becomes an ``AdminTrouble``."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError):
        raise AdminTrouble("it does not answer in time") from None
    except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
        raise AdminTrouble(reason_of(error)) from None
