"""One container of the fake engine (fake_docker.py), and what the API says of it."""

from __future__ import annotations

import hashlib
import time
from typing import Any


def rfc3339(time_ns: int) -> str:
    """Docker's way to write a time; 0: never."""
    if not time_ns:
        return "0001-01-01T00:00:00Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9)) + f".{time_ns % 10**9:09d}Z"


class FakeContainer:
    """One container; ``networks`` maps a network's name to the address there (empty while it does not run);
    ``broken``: Docker can't list it, and so no list with it; ``stuck``: it is listed, and no inspect finds it."""

    def __init__(self, name: str, labels: dict[str, str], networks: list[str], **more: Any) -> None:
        self.id = hashlib.sha256(f"{name}{time.time_ns()}".encode()).hexdigest()
        self.name, self.labels = name, labels
        self.networks = dict.fromkeys(networks, "")
        self.endpoints = dict.fromkeys(networks, "")
        #: Times in ns, by the engine's clock.
        self.created, self.started, self.finished = more.get("created") or time.time_ns(), 0, 0
        self.status, self.exit_code = "created", 0
        self.health: str = more.get("health", "")
        self.stop_signal: str = more.get("stop_signal", "")
        self.stop_timeout: int | None = more.get("stop_timeout")
        self.ports: list[int] = more.get("ports", [8000])
        self.network_mode: str = more.get("network_mode") or (networks[0] if networks else "none")
        self.broken = self.stuck = False

    @property
    def alive(self) -> bool:
        """It has processes, running or paused."""
        return self.status in ("running", "paused")

    def has_label(self, name: str, value: str | None) -> bool:
        """Whether it has the label ``name``, with ``value`` (None: with any)."""
        return name in self.labels and value in (None, self.labels[name])

    def inspect(self) -> dict[str, Any]:
        """The answer of ``containers/ID/json``."""
        state: dict[str, Any] = {
            "Status": self.status,
            "Running": self.alive,
            "Paused": self.status == "paused",
            "Restarting": False,
            "ExitCode": self.exit_code,
            "StartedAt": rfc3339(self.started),
            "FinishedAt": rfc3339(self.finished),
        }
        if self.health:
            state["Health"] = {"Status": self.health}
        config: dict[str, Any] = {"Labels": self.labels, "ExposedPorts": {f"{port}/tcp": {} for port in self.ports}}
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        if self.stop_timeout is not None:
            config["StopTimeout"] = self.stop_timeout
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": rfc3339(self.created),
            "State": state,
            "Config": config,
            "HostConfig": {"NetworkMode": self.network_mode},
            "NetworkSettings": {"Networks": self._networks()},
        }

    def row(self) -> dict[str, Any]:
        """The container's row in ``containers/json``."""
        text = {"created": "Created", "running": "Up 3 minutes", "paused": "Up 3 minutes (Paused)"}.get(
            self.status, f"Exited ({self.exit_code}) a while ago"
        )
        if self.health and self.status == "running":
            text += f" (health: {self.health})" if self.health == "starting" else f" ({self.health})"
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Labels": self.labels,
            "State": self.status,
            "Status": text,
            "NetworkSettings": {"Networks": self._networks()},
        }

    def _networks(self) -> dict[str, Any]:
        return {
            name: {"EndpointID": self.endpoints[name], "IPAddress": address, "Gateway": "", "GlobalIPv6Address": ""}
            for name, address in self.networks.items()
        }
