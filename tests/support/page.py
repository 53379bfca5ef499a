"""``fastroute-page`` for tests, in front of routers and controllers on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from support.programs import Controller, Program, Router, free_port, listens


class PageProgram(Program):
    """The program; ``url`` is where browsers ask."""

    def __init__(
        self, routers: Sequence[Router], controllers: Sequence[Controller], *options: str,
        env: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        words = [str(Path(sys.executable).with_name("fastroute-page")), "--log-format", "text"]
        for router in routers:
            words += ["--router-url", f"http://127.0.0.1:{router.admin_port}"]
        for controller in controllers:
            words += ["--controller-url", f"http://127.0.0.1:{controller.admin_port}"]
        for option, given in (("--router-url", routers), ("--controller-url", controllers)):
            if not given and option not in options:
                words += [option, "none"]
        if "--listen" in options:
            self.port = int(options[options.index("--listen") + 1].rpartition(":")[2])
        else:
            self.port = free_port()
            words += ["--listen", f"127.0.0.1:{self.port}"]
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(*words, *options, env=env)
        self.wait_for(lambda: listens(self.port), "the page listens")

    @classmethod
    def at(cls, path: Path, *words: str) -> PageProgram:
        """The program with these options alone, listening at the unix socket ``path``."""
        page = cls.__new__(cls)
        Program.__init__(page, str(Path(sys.executable).with_name("fastroute-page")), "--log-format", "text", *words)
        page.wait_for(lambda: listens(path), "the page listens")
        return page

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One answer."""
        return httpx.get(self.url + path, headers=headers, timeout=10)

    @contextmanager
    def stream(self, view: str = "overview", **query: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The pieces of a view's stream."""
        path = f"{self.url}/api/stream?{urlencode({'view': view, **query})}"
        with httpx.stream("GET", path, timeout=10) as answer:
            yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
