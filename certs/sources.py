"""Asks routers and controllers which keys they have.  One edge: two threads for each.

Their events tell when it is time to ask again, so that none of them renders a status every second for nothing.  While a
program does not answer, its last answer holds: no host loses its certificate because a router is away.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from fastroute.certs.decide.hosts import Hosts, hosts_in_status
from fastroute.router.admin_http.asking import ANSWER_TIMEOUT, STREAM_TIMEOUT, bearer, reason_of
from fastroute.router.admin_http.urls import socket_path
from fastroute.router.runtime.http_client import httpx
from fastroute.router.runtime.json_text import read_json

#: Seconds between two questions at least: this, or so many times the time that an answer took, but never over this.
MIN_INTERVAL, COST_FACTOR, MAX_PAUSE = 0.5, 50.0, 5.0
#: Seconds until the next question without news.
MAX_INTERVAL = 30.0
#: Seconds until one that does not answer is asked again.
RECONNECT_INTERVAL = 1.0

log = logging.getLogger("fastroute.certs")


class StatusSource:
    """One admin at ``url``; ``changed`` is called, on our thread, whenever what it says has changed."""

    def __init__(self, url: str, token_file: str | None, changed: Callable[[], None]) -> None:
        self.url = url
        #: What it said last; None: nothing yet.
        self.hosts: Hosts | None = None
        #: Why it does not answer now; empty: it does.
        self.problem = "not asked yet"
        self._token_file, self._changed = token_file, changed
        self._stop, self._news = threading.Event(), threading.Event()
        self._asking = threading.Thread(target=self._run, name=f"status {url}", daemon=True)
        self._following = threading.Thread(target=self._follow, name=f"events {url}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()
        self._following.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._news.set()

    def _run(self) -> None:
        """Ask when there is news, but not sooner after the last time than that one's cost allows."""
        with self._client() as client:
            earliest = 0.0
            while not self._stop.wait(max(earliest - time.monotonic(), 0.0)):
                self._news.clear()
                began, before = time.monotonic(), (self.hosts, self.problem)
                self._ask(client)
                if before != (self.hosts, self.problem):
                    self._log(before[1])
                    self._changed()
                ended = time.monotonic()
                earliest = ended + min(max(MIN_INTERVAL, COST_FACTOR * (ended - began)), MAX_PAUSE)
                if not self.problem:
                    self._news.wait(MAX_INTERVAL)

    def _follow(self) -> None:
        """Take every event for news; so is the beginning of the stream, and its end."""
        timeout = httpx.Timeout(ANSWER_TIMEOUT, read=STREAM_TIMEOUT)
        with self._client() as client:
            while not self._stop.wait(RECONNECT_INTERVAL):
                # Whatever is wrong with the stream, the status says it, too.
                with (
                    contextlib.suppress(httpx.HTTPError, httpx.StreamError, OSError, ValueError),
                    client.stream("GET", "/v1/events", headers=bearer(self._token_file), timeout=timeout) as stream,
                ):
                    self._news.set()
                    for line in stream.iter_lines() if not stream.is_error else ():
                        if line.startswith("event:"):
                            self._news.set()
                        if self._stop.is_set():
                            return

    def _ask(self, client: httpx.Client) -> None:
        try:
            answer = client.get("/v1/status", headers=bearer(self._token_file))
            if answer.is_error:
                self.problem = f"it answers {answer.status_code}: {answer.text[:200].strip()}"
                return
            status = read_json(answer.content)
        except (httpx.HTTPError, OSError, ValueError) as error:
            self.problem = reason_of(error)
            return
        if not isinstance(status, dict) or not isinstance(status.get("keys"), list):
            self.problem = "its answer is no status"
            return
        self.hosts, self.problem = hosts_in_status(status), ""

    def _log(self, before: str) -> None:
        if self.problem and self.problem != before:
            log.warning("%s: no status: %s", self.url, self.problem)
        elif before and not self.problem:
            log.info("%s: answers", self.url)

    def _client(self) -> httpx.Client:
        path = socket_path(self.url)
        if path is not None:
            return httpx.Client(
                base_url="http://localhost", transport=httpx.HTTPTransport(uds=path), timeout=ANSWER_TIMEOUT
            )
        return httpx.Client(base_url=self.url, timeout=ANSWER_TIMEOUT, trust_env=False)
