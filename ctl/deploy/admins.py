"""The admins that a rollout asks: the controller's, and those of its routers.  An edge.

They are asked at their URLs; where no URL was given and nobody answers at the usual one, by ``docker exec`` in the
containers in which they run: in the compose stack they listen where only those can reach them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol
from urllib.parse import quote

from fastroute.ctl.api import Api, Program
from fastroute.ctl.bridge import ANSWER_TIMEOUT
from fastroute.ctl.deploy.compose import LOOK_TIMEOUT
from fastroute.ctl.errors import NOT_THERE, Answered, CtlError, Unreachable
from fastroute.ctl.settings import CtlSettings
from fastroute.router.runtime.json_text import read_json

#: Seconds that a bridge may take to end once nothing more is asked.
BRIDGE_END_TIMEOUT = 5.0

_PROJECT = "com.docker.compose.project"


class AdminApi(Protocol):
    """Asks one program."""

    def get(self, path: str) -> dict[str, Any]:
        """As :meth:`fastroute.ctl.api.Api.get`."""
        ...

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As :meth:`fastroute.ctl.api.Api.post`."""
        ...


class ExecAdmin:
    """Asks ``program`` in ``container``, by ``fastroute-ctl bridge`` there."""

    def __init__(self, container: str, program: Program) -> None:
        self._program, self._name = program, f"the {program} in container {container[:12]}"
        command = ["docker", "exec", "-i", container, "fastroute-ctl", "bridge"]
        self._bridge = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def get(self, path: str) -> dict[str, Any]:
        """See :class:`AdminApi`."""
        return self._ask({"program": self._program, "path": path})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """See :class:`AdminApi`."""
        return self._ask({"program": self._program, "path": path, "body": body})

    def close(self) -> None:
        """End the bridge; one that does not end within ``BRIDGE_END_TIMEOUT`` is killed."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._bridge.communicate(timeout=BRIDGE_END_TIMEOUT)
        self._bridge.kill()
        self._bridge.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._bridge.stdin is not None
        assert self._bridge.stdout is not None
        assert self._bridge.stderr is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._bridge.stdin.write(json.dumps(request) + "\n")
            self._bridge.stdin.flush()
            line = self._bridge.stdout.readline()
        if not line:
            raise Unreachable(f"can't reach {self._name}: {self._bridge.stderr.read().strip()[-500:] or 'it ended'}")
        try:
            reply = read_json(line)
        except ValueError:
            # docker says so on standard output that the container has just ended, or not begun.
            raise Unreachable(f"can't reach {self._name}: {line.strip()[:500]}") from None
        if "answer" in reply:
            answer: dict[str, Any] = reply["answer"]
            return answer
        if reply["status"] is None:
            raise Unreachable(f"{self._name}: {reply['error']}")
        raise Answered(str(reply["error"]), int(reply["status"]))


class Admins:
    """The controller that knows the containers ``ids``, and its routers."""

    def __init__(self, controller: AdminApi, routers: Sequence[AdminApi]) -> None:
        self.controller, self._routers = controller, routers

    def known(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows of ``/v1/containers`` of these containers, by id."""
        return _known(self.controller, ids)

    def key(self, key: str) -> dict[str, Any]:
        """The controller's object of ``key``; empty: nobody has it now."""
        return _key(self.controller, key)

    def nodes(self, key: str) -> list[dict[str, Any]]:
        """The nodes of ``key``, of each router that answers."""
        return [node for row in self._rows(key) for node in row.get("nodes", ())]

    def algorithms(self, key: str) -> set[str]:
        """What routers balance ``key`` by."""
        return {row["algorithm"] for row in self._rows(key) if row}

    def _rows(self, key: str) -> list[dict[str, Any]]:
        """The object of ``key`` of each router that answers."""
        rows: list[dict[str, Any]] = []
        for router in self._routers:
            with contextlib.suppress(CtlError):
                rows.append(_key(router, key))
        return rows

    @property
    def nginx_mode(self) -> bool:
        """Whether the controller renders nginx."""
        return (self.controller.get("/v1/status").get("controller") or {}).get("mode") == "nginx"


@contextlib.contextmanager
def admins_of(settings: CtlSettings, ids: Sequence[str]) -> Iterator[Admins]:
    """The admins, as ``settings`` and Docker have them; ``ids``: containers that the controller should know."""
    settings.timeout = max(settings.timeout or 0.0, ANSWER_TIMEOUT)
    direct = Api(settings, "controller")
    chosen_url = settings.controller_url or os.environ.get("FASTROUTE_CONTROLLER_URL")
    try:
        if chosen_url or not ids or not _disabled(_known(direct, ids)):
            direct.get("/v1/status")
            yield Admins(direct, [Api(settings, "router")])
            return
        trouble: CtlError = CtlError(f"the controller at {direct.url} does not know the service's containers")
    except Unreachable as error:
        if chosen_url:
            raise
        trouble = error
    with ExitStack() as stack:
        candidates = []
        for container, project in _controllers():
            controller = ExecAdmin(container, "controller")
            stack.callback(controller.close)
            with contextlib.suppress(Unreachable):
                rows = _known(controller, ids)
                if rows or not ids:
                    candidates.append((_disabled(rows), controller, project))
        if not candidates:
            raise trouble
        # Each stack's controller sees all containers of the engine; those of another stack it only lists.
        _, controller, project = min(candidates, key=lambda candidate: candidate[0])
        routers = [ExecAdmin(router, "router") for router in _routers(project)]
        for router in routers:
            stack.callback(router.close)
        yield Admins(controller, routers)


def _known(controller: AdminApi, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in controller.get("/v1/containers")["containers"] if row["id"] in ids}


def _disabled(rows: dict[str, dict[str, Any]]) -> bool:
    """Whether a controller that knows ``rows`` routes none of them, nor means to."""
    return all(row["state"] == "disabled" for row in rows.values())


def _key(admin: AdminApi, key: str) -> dict[str, Any]:
    try:
        return admin.get("/v1/keys/" + quote(key, safe="/*:"))
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
        return {}


def _controllers() -> list[tuple[str, str]]:
    """Containers that run a controller, with their compose projects."""
    rows = _listed('{{.ID}}\t{{.Label "' + _PROJECT + '"}}\t{{.Command}}')
    return [(row[0], row[1]) for row in rows if "fastroute-controller" in row[2].split(" ")[0]]


def _routers(project: str) -> list[str]:
    """Containers that run the routers of a compose project."""
    return [row[0] for row in _listed("{{.ID}}", "label=fastroute.role=router", f"label={_PROJECT}={project}")]


def _listed(form: str, *filters: str) -> list[list[str]]:
    words = [word for expression in filters for word in ("--filter", expression)]
    try:
        process = subprocess.run(
            ["docker", "ps", "--no-trunc", *words, "--format", form], capture_output=True, text=True, check=False,
            timeout=LOOK_TIMEOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.split("\t") for line in process.stdout.splitlines()]
