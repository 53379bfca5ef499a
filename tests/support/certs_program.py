"""``fastroute-certs`` for tests, against routers and a CA on loopback."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.programs import Program, Router, free_port


class CertsProgram(Program):
    """The program for ``routers``, with its certificates in ``directory``."""

    def __init__(self, routers: Sequence[Router], directory: Path, *options: str, env: dict[str, str] | None = None):
        self.admin_port, self.certificates = free_port(), directory
        words = [str(Path(sys.executable).with_name("fastroute-certs"))]
        for router in routers:
            words += ["--router", f"127.0.0.1:{router.port}", "--router-url", f"http://127.0.0.1:{router.admin_port}"]
        if "--challenge" not in options:
            words += ["--challenge", f"127.0.0.1:{free_port()}"]
        words += [
            "--controller-url", "none", "--certificates", str(directory),
            "--admin", f"127.0.0.1:{self.admin_port}", "--log-format", "text", *options,
        ]  # fmt: skip
        super().__init__(*words, env=env)

    @classmethod
    def bare(cls, environment: dict[str, str], *words: str) -> CertsProgram:
        """The program with what ``environment`` says alone."""
        certs = cls.__new__(cls)
        Program.__init__(certs, str(Path(sys.executable).with_name("fastroute-certs")), *words, env=environment)
        return certs

    def get(self, path: str) -> str:
        """What its admin answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> bool:
        """Whether ``/readyz`` answers 200."""
        try:
            return self.get("/readyz") == "ok\n"
        except OSError:
            return False

    def hosts(self) -> dict[str, dict[str, Any]]:
        """``/v1/certificates`` by host; empty while it does not answer."""
        try:
            rows = json.loads(self.get("/v1/certificates"))["certificates"]
        except OSError:
            return {}
        return {row["host"]: row for row in rows}

    def state(self, host: str) -> str:
        """The state of ``host``; empty: it is not known."""
        return str(self.hosts().get(host, {}).get("state", ""))

    def wait_state(self, host: str, state: str, seconds: float = 30.0) -> dict[str, Any]:
        """Until ``host`` is in ``state``; its row."""
        self.wait_for(lambda: self.state(host) == state, f"{host} is {state}; {self.hosts().get(host)}", seconds)
        return self.hosts()[host]
