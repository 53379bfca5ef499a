"""Asking a router, a controller or fastroute-certs over HTTP.  One edge: ``http://``, ``https://`` and ``http+unix://PATH``.

No proxy of the environment is used: both are asked where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click
import httpx

from fastroute.ctl.errors import NOT_THERE, Answered, CtlError, Unreachable
from fastroute.ctl.settings import CtlSettings
from fastroute.router.admin_http.asking import bearer, reason_of
from fastroute.router.admin_http.urls import UNIX, socket_path
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.logs import printable

Program = Literal["router", "controller", "certs"]


class Api:
    """The admin HTTP of one program."""

    def __init__(self, settings: CtlSettings, program: Program) -> None:
        self.program: Program = program
        self.url: str = getattr(settings, program)
        self._name = "fastroute-certs" if program == "certs" else f"the {program}"
        self._settings = settings

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at ``path``; a :class:`CtlError` when there is none."""
        return self._asked("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for a change."""
        return self._asked("POST", path, json=body)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[str]]:
        """The lines of an answer that may go on for ever."""
        with self._client(None) as client, self._translated(), client.stream("GET", path) as answer:
            if answer.is_error:
                raise CtlError(f"{self._name} at {self.url} answers {answer.status_code} to {path}")
            yield answer.iter_lines()

    def _asked(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        with self._client(self._settings.seconds) as client, self._translated():
            answer = client.request(method, path, **rest)
        try:
            result = read_json(answer.content)
        except ValueError:
            result = None
        if not isinstance(result, dict):
            raise Answered(f"{self.url}{path} is not a fastroute {self.program}: its answer ({answer.status_code})"
                           f" is no JSON object; {self._cure}", answer.status_code)  # fmt: skip
        if answer.is_error:
            candidates = "".join(f"\n  {printable(str(candidate))}" for candidate in result.get("candidates") or ())
            text = f"{self._name} says: {printable(str(result.get('error', answer.reason_phrase)))}{candidates}"
            raise Answered(text, answer.status_code)
        return result

    def _client(self, read: float | None) -> httpx.Client:
        base, transport = _target(self.url)
        headers = _bearer(self._settings.token_file or None)
        timeout = httpx.Timeout(self._settings.seconds, read=read)
        return httpx.Client(base_url=base, transport=transport, timeout=timeout, headers=headers, trust_env=False)

    @property
    def _cure(self) -> str:
        return f"--{self.program}-url or FASTROUTE_{self.program.upper()}_URL says where it is"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise Unreachable(
                f"{self._name} at {self.url} does not answer within {self._settings.seconds:g} s;"
                " --timeout waits longer"
            ) from None
        except httpx.TransportError as error:
            reason = reason_of(error)
            raise Unreachable(
                f"can't reach {self._name} at {self.url} ({reason}): is fastroute-{self.program} running? {self._cure}"
            ) from None


def post_to_either(
    settings: CtlSettings, path: str, body: dict[str, Any], nobody: str
) -> tuple[Program, dict[str, Any]]:
    """Ask the controller for a change, or the router where the controller knows of no such thing, or is not there.

    Returns who did it, and what it answered; ``nobody`` is what is said when neither knows of it.
    """
    trouble: CtlError
    try:
        return "controller", Api(settings, "controller").post(path, body)
    except Unreachable as error:
        trouble = error
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
        trouble = error
    try:
        return "router", Api(settings, "router").post(path, body)
    except Unreachable as error:
        # The controller's no is worth more than a router's silence, which may be nginx mode's.
        raise (trouble if isinstance(trouble, Answered) else error) from None
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
        raise CtlError(nobody) from None


def _target(url: str) -> tuple[str, httpx.HTTPTransport]:
    path = socket_path(url)
    if path is not None:
        if not path.startswith("/"):
            raise click.UsageError(f"{url!r}: an absolute path expected, like {UNIX}/run/fastroute/admin.sock")
        return "http://localhost", httpx.HTTPTransport(uds=path)
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{url!r} is no URL ({error}): http://HOST:PORT or {UNIX}/PATH expected") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise click.UsageError(f"{url!r} is no URL of an admin: http://HOST:PORT or {UNIX}/PATH expected")
    return url.rstrip("/"), httpx.HTTPTransport()


def _bearer(token_file: str | None) -> dict[str, str]:
    try:
        return bearer(token_file)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--token-file {token_file}: {error}") from None
