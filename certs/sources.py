"""Asks routers and controllers which keys they have.  One edge: a thread for each.

What one said last holds while it does not answer: a router that is away takes no host's certificate.  The time between
two questions grows with what an answer costs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import httpx

from fastroute.certs.decide.hosts import Hosts, hosts_in_status
from fastroute.certs.options import UNIX
from fastroute.router.runtime.json_text import read_json

#: Seconds between two questions: at least, at most, and how many times the time that an answer took.
MIN_INTERVAL, MAX_INTERVAL, COST_FACTOR = 1.0, 30.0, 50.0
#: Seconds for an answer.
ANSWER_TIMEOUT = 10.0

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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"status {url}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _run(self) -> None:
        with self._client() as client:
            wait = 0.0
            while not self._stop.wait(wait):
                began = time.monotonic()
                before = self.hosts, self.problem
                self._ask(client)
                if before != (self.hosts, self.problem):
                    self._log(before[1])
                    self._changed()
                took = time.monotonic() - began
                wait = MIN_INTERVAL if self.problem else min(max(MIN_INTERVAL, COST_FACTOR * took), MAX_INTERVAL)

    def _ask(self, client: httpx.Client) -> None:
        try:
            answer = client.get("/v1/status", headers=self._headers())
            if answer.is_error:
                self.problem = f"it answers {answer.status_code}: {answer.text[:200].strip()}"
                return
            status = read_json(answer.content)
        except httpx.HTTPError as error:
            self.problem = str(error).partition("] ")[2] or str(error) or type(error).__name__
            return
        except (OSError, ValueError) as error:
            self.problem = str(error) or type(error).__name__
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
        if self.url.startswith(UNIX):
            path = unquote(self.url.removeprefix(UNIX))
            return httpx.Client(
                base_url="http://localhost", transport=httpx.HTTPTransport(uds=path), timeout=ANSWER_TIMEOUT
            )
        return httpx.Client(base_url=self.url, timeout=ANSWER_TIMEOUT, trust_env=False)

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {Path(self._token_file).read_text().strip()}"}
