"""One service of a compose project, by the caller's own ``docker compose`` and ``docker``.  An edge."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastroute.ctl.errors import CtlError

#: Seconds for a look; building, pulling, starting and stopping take as long as they take.
LOOK_TIMEOUT = 60.0
_LABEL = "com.docker.compose."
#: Characters of docker's output that an error shows, the last ones.
_MAX_OUTPUT = 2000


class DockerFailed(CtlError):
    """docker could not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class ComposeContainer:
    """A container of the service."""

    id: str
    name: str


class ComposeService:
    """``service`` of the project that ``options`` (``-f FILE``, ``-p PROJECT``) and the environment mean.

    ``inherited`` descriptors stay open in what is started: a lock outlives a run that is killed until its child ends.
    """

    def __init__(self, options: Sequence[str], service: str, inherited: Sequence[int] = ()) -> None:
        self._options, self.service, self._inherited = tuple(options), service, tuple(inherited)
        config = json.loads(self._look("compose", *self._options, "config", "--format", "json"))
        self.project: str = config["name"]
        services: dict[str, dict[str, Any]] = config.get("services") or {}
        if service not in services:
            near = get_close_matches(service, services, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(services)) or 'none'}"
            raise CtlError(f"compose project {self.project} has no service {service!r}: {hint}")
        self._service = services[service]

    def inherit(self, descriptor: int) -> None:
        """Keep ``descriptor`` open in what is started from now on."""
        self._inherited = (*self._inherited, descriptor)

    @property
    def problem(self) -> str:
        """Why there can't be two of each container; empty: there can."""
        spec, name = self._service, self.service
        if container := spec.get("container_name"):
            return f"container_name {container!r}: only one container can have it, so no second one can start beside it"
        if published := [
            port for port in spec.get("ports") or () if port.get("published") or port.get("mode") == "host"
        ]:
            port = published[0].get("published") or published[0].get("target")
            return f"it publishes port {port}: two containers can't both have it (the router reaches them without)"
        if spec.get("network_mode") == "host":
            return "network_mode: host: two containers can't listen on the same ports of the machine"
        if (spec.get("deploy") or {}).get("mode") == "global":
            return (
                f"deploy.mode global: {name} has one container on each machine, and no second one can start beside it"
            )
        return ""

    def containers(self) -> list[ComposeContainer]:
        """All that exist, the oldest first."""
        labels = (f"project={self.project}", f"service={self.service}", "oneoff=False")
        filters = [word for label in labels for word in ("--filter", f"label={_LABEL}{label}")]
        ids = self._look("ps", "-a", "-q", "--no-trunc", *filters).split()
        if not ids:
            return []
        rows = sorted(self._inspected(ids), key=lambda row: (row["Created"], row["Name"]))
        return [
            ComposeContainer(row["Id"], row["Name"].removeprefix("/"))
            for row in rows
            if row["State"]["Status"] != "removing"
        ]

    def up_to_date(self, ids: Sequence[str]) -> bool:
        """Whether all of these are made from the service's present configuration and image."""
        config_hash, image = self._config_hash(), self._image_id()
        return all(
            row["Config"]["Labels"].get(f"{_LABEL}config-hash") == config_hash and image in ("", row["Image"])
            for row in self._inspected(ids)
        )

    def build(self) -> None:
        """``docker compose build``."""
        self._act("compose", *self._options, "build", self.service)

    def pull(self) -> None:
        """``docker compose pull``."""
        self._act("compose", *self._options, "pull", self.service)

    def scale(self, number: int | None = None) -> None:
        """Let there be ``number`` containers (None: as many as its file says); those that are there are left alone."""
        scale = [] if number is None else ["--scale", f"{self.service}={number}"]
        self._act("compose", *self._options, "up", "-d", "--no-deps", "--no-recreate", *scale, self.service)

    def remove(self, ids: Sequence[str]) -> None:
        """Stop them, in the time that each has for it, and remove them."""
        self._act("stop", *ids)
        self._act("rm", *ids)

    def _inspected(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """What docker inspect prints; without containers that were removed meanwhile, which make its exit code 1."""
        rows: list[dict[str, Any]] = json.loads(
            self._run(["docker", "inspect", *ids], LOOK_TIMEOUT, check=False).stdout or "[]"
        )
        return rows

    def _config_hash(self) -> str:
        return self._look("compose", *self._options, "config", "--hash", self.service).split()[-1]

    def _image_id(self) -> str:
        """Empty: the image is not here."""
        image = self._service.get("image") or f"{self.project}-{self.service}"
        inspected = self._run(["docker", "image", "inspect", "--format", "{{.Id}}", image], LOOK_TIMEOUT, check=False)
        return inspected.stdout.strip()

    def _look(self, *words: str) -> str:
        return self._run(["docker", *words], LOOK_TIMEOUT).stdout

    def _act(self, *words: str) -> None:
        self._run(["docker", *words], None)

    def _run(
        self, command: list[str], timeout: float | None, *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        try:
            process = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, timeout=timeout,
                stdin=subprocess.DEVNULL, pass_fds=self._inherited,
            )  # fmt: skip
        except FileNotFoundError:
            raise DockerFailed(
                "there is no docker here: rollout runs beside the docker compose of whoever calls it"
            ) from None
        except subprocess.TimeoutExpired:
            raise DockerFailed(f"{_shown(command)} does not answer within {timeout:g} s") from None
        if check and process.returncode != 0:
            output = (process.stderr.strip() or process.stdout.strip())[-_MAX_OUTPUT:]
            raise DockerFailed(f"{_shown(command)} failed ({process.returncode}): {output}")
        return process


def _shown(command: Sequence[str]) -> str:
    return " ".join(word[:12] if len(word) == 64 else word for word in command[:12])
