"""Docker: calls on a few threads, events on one, all answers to one queue.  Nothing else makes clients of its SDK.

Only GET is ever asked for, of ``version``, ``info``, ``events``, ``containers/json``, ``containers/ID/json`` and
``networks``; of a swarm's manager ``services`` and ``nodes``, too.

The reader thread does nothing but read.  Each connection is a new client (a restarted daemon has a new socket file,
and perhaps another version): first the past is read, so that a stop in progress is known; then the live stream is
opened from where the past ended, so that nothing falls between; only then :class:`Connected` is told, and the list
comes after that.
"""

from __future__ import annotations

import codecs
import functools
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container import nanoseconds, read_inspect, signal_number
from fastroute.controller.decide.swarm import member_of, view_of
from fastroute.controller.observe.docker_sdk import docker, requests, urllib3
from fastroute.controller.observe.lists import Lists
from fastroute.controller.observe.own_id import own_id
from fastroute.controller.observe.reconnect_delay import ReconnectDelay
from fastroute.controller.observe.ssh_bridge import SshBridge

#: Seconds for a call to Docker.
CALL_TIMEOUT = 10
#: Seconds without an event until the engine is asked whether it is still there.
SILENCE_TIMEOUT = 60.0
#: Seconds: how far back a fresh controller looks for stops in progress.
MAX_EVENT_AGE = 600
#: Calls at once: an inspect waits while Docker starts that container, and must not hold up the others.
_CALLERS = 8
#: A line of the event stream; Docker's have a few hundred bytes, plus labels.
_MAX_LINE = 4 * 1024 * 1024
_OF_SWARM = ("service", "node")
_FILTERS = {
    # Those of a swarm come from managers alone.
    "type": ["container", "network", *_OF_SWARM],
    "event": [
        *("create", "start", "restart", "kill", "stop", "die", "oom", "destroy", "pause", "unpause"),
        *("rename", "update", "health_status", "connect", "disconnect", "remove"),
    ],
}
#: What a proxy answers whose engine is away.
_AWAY = (502, 503)
#: What may go wrong when Docker does not answer as it should; anything else is a mistake of ours.
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
_TROUBLE = (*_BROKEN, docker.errors.DockerException, ValueError, KeyError, TypeError, RecursionError)


_Job = tuple[Callable[[docker.APIClient], m.Message], Callable[[str], m.Message]]


class DockerSource:
    """One engine.  ``post`` takes messages from any thread and does not block; ``prefix`` is that of our labels."""

    def __init__(self, url: str, post: Callable[[m.Message], None], prefix: str = "fastroute") -> None:
        self._prefix = prefix
        self._bridge = SshBridge(url) if url.startswith("ssh:") else None
        self._url, self._post = self._bridge.url if self._bridge else url, post
        self._calls: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._generation, self._lists = 0, Lists()
        self._stopping = threading.Event()
        self._stream: requests.Response | None = None
        self._last_ns = 0
        # Daemons: a call to a Docker that hangs must not keep the program from ending.
        self._threads = [threading.Thread(target=self._read_for_ever, name="docker-events", daemon=True)]
        for _ in range(_CALLERS):
            self._threads.append(threading.Thread(target=self._call_for_ever, name="docker-call", daemon=True))

    def start(self) -> None:
        """Begin to connect, and go on for ever."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; calls under way are left to themselves."""
        self._stopping.set()
        self.reopen()
        if self._bridge:
            self._bridge.close()
        for _ in range(_CALLERS):
            self._calls.put(None)

    def reopen(self) -> None:
        """End the stream of events; the reader opens a new one."""
        stream = self._stream
        if stream is not None:
            with suppress(*_TROUBLE, AttributeError, RuntimeError):
                stream.raw.shutdown()

    def take_list(self, ticket: int, labels: tuple[str, ...] = ()) -> None:
        """Ask for all containers and networks; :class:`Listed` or :class:`ListFailed` follows.  ``labels`` opt in."""
        call = functools.partial(self._lists.take, ticket, labels)
        self._calls.put((call, functools.partial(m.ListFailed, ticket)))

    def take_swarm(self) -> None:
        """Ask a manager for its swarm; :class:`SwarmTold` or :class:`SwarmUntold` follows."""
        self._calls.put((functools.partial(_swarm, self._prefix), m.SwarmUntold))

    def inspect(self, id: str, version: int) -> None:
        """Ask for one container; :class:`Inspected` or :class:`InspectFailed` follows."""
        self._calls.put((functools.partial(_inspect, id, version), functools.partial(m.InspectFailed, id, version)))

    # Calls, each on one of a few threads with a client of its own.

    def _call_for_ever(self) -> None:
        client: docker.APIClient | None = None
        generation = -1
        while (job := self._calls.get()) is not None:
            call, failed = job
            try:
                if client is None or generation != self._generation:
                    client, generation = _replace(client, self._url), self._generation
                answer = call(client)
            except _TROUBLE as error:
                answer = failed(_reason(error))
            self._post(answer)
        if client is not None:
            client.close()

    # Events, on the reader's thread.

    def _read_for_ever(self) -> None:
        backoff = ReconnectDelay()
        while not self._stopping.is_set():
            cheap = False
            try:
                reason = self._read_once(backoff)
            except _TROUBLE as error:
                reason, cheap = _reason(error), self._bridge is None and is_cheap(error)
                if self._bridge and (trouble := self._bridge.why()):
                    reason = f"ssh: {trouble}"
            self._stream = None
            if not self._stopping.is_set():
                self._post(m.Disconnected(reason))
                self._stopping.wait(backoff.next(cheap=cheap))

    def _read_once(self, backoff: ReconnectDelay) -> str:
        """Connect and pass on events until the stream ends; returns why it ended."""
        client = _connect(self._url)
        try:
            info = client.info()
            now_ns = nanoseconds(str(info.get("SystemTime") or "")) or time.time_ns()
            since_ns = min(max(now_ns - MAX_EVENT_AGE * 10**9, self._last_ns), now_ns)
            with _events(client, since_ns, now_ns) as past:
                for event in _lines(past):
                    self._pass_on(event, now_ns)
            with _events(client, now_ns, None) as stream:
                self._stream = stream
                self._generation += 1
                version = str(info.get("ServerVersion") or "")
                engine = m.Engine(str(info.get("ID") or ""), version, now_ns, own_id(), member_of(info))
                self._post(m.Connected(engine))
                opened = time.monotonic()
                self._last_ns = max(self._last_ns, now_ns - 1)
                reason = self._read_live(client, stream)
                backoff.worked(time.monotonic() - opened)
                return reason
        finally:
            client.close()

    def _read_live(self, client: docker.APIClient, stream: requests.Response) -> str:
        """Pass on events until they end; returns why they did.  On an idle engine there are none for hours; a stream
        that died without a word looks the same.  So a silent one is replaced from where it stood, as long as the engine
        answers, and nobody need know."""
        while True:
            try:
                for event in _lines(stream):
                    self._pass_on(event, None)
            except urllib3.exceptions.ReadTimeoutError:
                stream.close()
            except _BROKEN as error:
                return _reason(error)
            else:
                return "the stream of events ended"
            try:
                client.get(f"{client.base_url}/_ping", timeout=CALL_TIMEOUT).raise_for_status()
                stream = self._stream = _events(client, self._last_ns + 1, None)
            except _TROUBLE as error:
                return f"no event for {SILENCE_TIMEOUT:g} s, and no answer: {_reason(error)}"

    def _pass_on(self, event: Mapping[str, Any], past_until_ns: int | None) -> None:
        of_swarm = event.get("Type") in _OF_SWARM
        message = (None if past_until_ns else m.SwarmHappened()) if of_swarm else read_event(event, past_until_ns)
        self._last_ns = max(self._last_ns, int(event.get("timeNano") or 0))
        if message is not None:
            self._post(message)


def read_event(event: Mapping[str, Any], past_until_ns: int | None) -> m.Happened | None:
    """The message of one of Docker's events; ``past_until_ns``: it is past, up to then (by the engine's clock)."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    action, _, detail = str(event.get("Action") or event.get("status") or "").partition(":")
    time_ns = int(event.get("timeNano") or int(event.get("time") or 0) * 10**9)
    of_network = event.get("Type") == "network"
    id = str(attributes.get("container") or "") if of_network else str(actor.get("ID") or event.get("id") or "")
    if not id or not action:
        return None
    return m.Happened(
        action=detail.strip() if action == "health_status" and detail else action,
        id=id,
        time_ns=time_ns,
        labels={} if of_network else attributes,
        network=str(attributes.get("name") or "") if of_network else "",
        signal=signal_number(str(attributes.get("signal") or "")) if action == "kill" else 0,
        live=past_until_ns is None,
        age=0.0 if past_until_ns is None else max(0, past_until_ns - time_ns) / 1e9,
    )


def _inspect(id: str, version: int, client: docker.APIClient) -> m.Message:
    try:
        return m.Inspected(id, version, read_inspect(client.inspect_container(id)))
    except docker.errors.NotFound:
        return m.Inspected(id, version, None)


def _swarm(prefix: str, client: docker.APIClient) -> m.Message:
    services: list[dict[str, Any]] = client.services()  # type: ignore[no-untyped-call]
    return m.SwarmTold(view_of(services, client.nodes(), prefix))


def _connect(url: str) -> docker.APIClient:
    arguments = docker.utils.kwargs_from_env(environment=_environment(url, os.environ))
    with _client(docker.constants.DEFAULT_DOCKER_API_VERSION, arguments) as client:
        version = str(client.version(api_version=False)["ApiVersion"])
    return _client(version, arguments)


def _environment(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for ``url``: as they are, but a folder in DOCKER_CERT_PATH
    that is called like the host has that engine's certificates."""
    environment = {**environ, "DOCKER_HOST": url}
    parts, certificates = urlsplit(url), environ.get("DOCKER_CERT_PATH", "")
    if certificates and parts.hostname and (own := Path(certificates, parts.hostname)).is_dir():
        environment["DOCKER_CERT_PATH"] = str(own)
    if parts.scheme not in ("tcp", "https"):
        for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
            environment.pop(name, None)
    return environment


def _replace(client: docker.APIClient | None, url: str) -> docker.APIClient:
    if client is not None:
        client.close()
    return _connect(url)


def _client(version: str, arguments: Mapping[str, Any]) -> docker.APIClient:
    client = docker.APIClient(version=version, timeout=CALL_TIMEOUT, **arguments)
    # HTTP_PROXY and the like are for the world outside, and break a socket proxy on a private network.  This is why
    # the SDK must not ask for the version itself: it does so while the client is made.
    client.trust_env = False
    return client


def _events(client: docker.APIClient, since_ns: int, until_ns: int | None) -> requests.Response:
    """The stream of events.  Not the SDK's own ``events()``, which has no time-out and takes any error for the end."""
    params = {"since": _seconds(since_ns), "filters": json.dumps(_FILTERS)}
    if until_ns is not None:
        params["until"] = _seconds(until_ns)
    url = f"{client.base_url}/v{client.api_version}/events"
    response = client.get(url, params=params, stream=True, timeout=(CALL_TIMEOUT, SILENCE_TIMEOUT))
    response.raise_for_status()
    return response


def _lines(response: requests.Response) -> Iterator[Mapping[str, Any]]:
    """Events as they come, one JSON object a line; podman and some proxies send no line ends."""
    decoder, characters, text = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("replace"), ""
    while data := response.raw.read1(65_536):
        text += characters.decode(data)
        while text := text.lstrip():
            try:
                event, end = decoder.raw_decode(text)
            except ValueError:
                if len(text) > _MAX_LINE:
                    raise ValueError(f"no JSON in {_MAX_LINE} bytes of events") from None
                break
            text = text[end:]
            if isinstance(event, dict):
                yield event


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def is_cheap(error: BaseException | None) -> bool:
    """To find out so cost nothing: nobody listens there or has that name, who does hung up, or it is a proxy that knows
    its engine to be away.  What hangs, and what somebody has to compute, is not."""
    while error is not None:
        if isinstance(error, ConnectionError | FileNotFoundError | socket.gaierror):
            return True
        if isinstance(error, docker.errors.APIError):
            return error.status_code in _AWAY
        error = error.__cause__ or error.__context__
    return False


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
