"""The controller's HTTP API: what it shows, and whom it lets change something."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from support.simulated_engine import Simulation

from fastroute.controller.admin import Admin, Published
from fastroute.controller.decide.messages import Disconnected, Message, Resync
from fastroute.controller.desired import RouteKey
from fastroute.controller.metrics import Timings, collect_from
from fastroute.controller.mode import ModeContext
from fastroute.controller.route_sources import RouteSources
from fastroute.controller.router_mode.mode import RouterMode
from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime.listen import open_streams

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}


class CountingMode(RouterMode):
    """Router mode whose routers count ``in_flight``."""

    def __init__(self, in_flight: dict[RouteKey, int], context: ModeContext) -> None:
        super().__init__(context)
        self._counted = in_flight

    def in_flight(self) -> dict[RouteKey, int]:
        return self._counted

    def packets(self) -> Counter[tuple[str, str]]:
        return Counter({("join", "applied"): 2})


class Api:
    """A simulated engine with its admin API on loopback and on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.sim = Simulation()
        self.told: list[Message] = []
        self.in_flight: dict[RouteKey, int] = {}
        self.token_file = folder / "token"
        self.token_file.write_text("secret\n")
        registry = CollectorRegistry()
        self.timings = Timings(registry)
        sources = RouteSources([self.sim.reconciler])
        context = ModeContext(ControllerSettings(), self.sim.log, sources, self.timings.acked)
        mode = CountingMode(self.in_flight, context)
        collect_from(registry, sources, (), mode)
        self.published = Published(sources, mode, self.sim.log, registry, [self._post], token_file=str(self.token_file))
        self.admins: list[Admin] = []
        self.clients: list[httpx.Client] = []
        for address in ("127.0.0.1:0", str(folder / "admin.sock")):
            listeners = open_streams([parse_address(address)], 0o600)
            readers = open_streams([parse_address(str(folder / "read.sock"))], 0o600) if self.admins else []
            self.admins.append(Admin(self.published, listeners, readers))
            self.admins[-1].start()
            unix = address.startswith("/")
            transport = httpx.HTTPTransport(uds=address) if unix else None
            base = "http://anything" if unix else f"http://{listeners[0].name}"
            self.clients.append(httpx.Client(transport=transport, base_url=base, timeout=10))
        transport = httpx.HTTPTransport(uds=str(folder / "read.sock"))
        self.clients.append(httpx.Client(transport=transport, base_url="http://anything", timeout=10))
        self.client, self.unix, self.reader = self.clients

    def _post(self, message: Message) -> None:
        self.told.append(message)
        self.sim.tell(message)
        self.sim.settle()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for admin in self.admins:
            admin.stop()

    def json(self, path: str) -> dict:  # type: ignore[type-arg]
        return self.client.get(path).raise_for_status().json()  # type: ignore[no-any-return]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    one = Api(tmp_path)
    yield one
    one.close()


def test_it_is_ready_once_docker_was_reached_and_no_more_while_it_ends(api: Api) -> None:
    assert api.client.get("/healthz").status_code == 200
    assert api.client.get("/readyz").status_code == 503
    api.sim.connect()
    assert api.client.get("/readyz").status_code == 200
    api.published.ending.set()
    assert api.client.get("/readyz").status_code == 503
    assert api.client.get("/healthz").status_code == 200


def test_the_address_for_reading_shows_everything_and_changes_nothing(api: Api) -> None:
    api.sim.connect()
    assert api.reader.get("/v1/status").json() == api.json("/v1/status")
    for path in ("/v1/resync", "/v1/drain", "/v1/weight"):
        for headers in ({}, {"Authorization": "Bearer secret"}):
            answer = api.reader.post(path, json={"target": "foo.com", "weight": 1}, headers=headers)
            assert (answer.status_code, "reading only" in answer.text) == (403, True)
    assert api.told == []
    assert api.unix.post("/v1/resync", json={}).status_code == 202
    assert 'fastroute_server_connections{server="admin-read"}' in api.reader.get("/metrics").text


def test_what_is_not_ready_says_why(api: Api) -> None:
    assert api.client.get("/readyz").text == "not ready: Docker was not reached yet\n"
    api.sim.tell(Disconnected("refused"))
    assert api.client.get("/readyz").text == "not ready: Docker was not reached yet: refused\n"
    api.sim.failing.add("list")
    api.sim.connect()
    why = "the list of containers fails: as told"
    assert api.client.get("/readyz").text == f"not ready: Docker answers, but {why}\n"
    for path in ("/v1/status", "/v1/containers"):
        answer = api.json(path)
        assert [one["trouble"] for one in answer.get("controller", answer)["engines"]] == [why]
    api.sim.failing.clear()
    api.sim.pass_time(5)
    assert api.client.get("/readyz").status_code == 200
    assert api.json("/v1/containers")["engines"] == [{"url": "", "trouble": None}]


def test_containers_are_shown_with_state_reason_and_routes(api: Api) -> None:
    api.sim.connect()
    one = api.sim.docker.run("web-1", LABELS)
    api.sim.docker.run("web-2", {**LABELS, "fastroute.wieght": "1"})
    api.sim.settle()
    answer = api.json("/v1/containers")
    assert answer["schema"] == "fastroute.containers/v1"
    good, bad = answer["containers"]
    names = {"id", "name", "state", "reason", "routes", "health", "since"}
    assert set(good) == names | {"node", "service", "task", "slot"}
    assert (good["id"], good["name"], good["state"]) == (one.id, "web-1", "ready")
    assert good["routes"] == [{"key": "foo.com", "address": f"{one.networks['bridge']}:8000"}]
    assert (bad["state"], bad["routes"]) == ("error", [])
    assert "did you mean fastroute.weight?" in bad["reason"]


def test_answers_are_ascii_for_whoever_looks_with_curl(api: Api) -> None:
    api.sim.connect()
    api.sim.docker.run("web-1", {**LABELS, "fastroute.network": "net\u202e\x9b31m", "fastroute.ü": "\x9b"})
    api.sim.settle()
    for path in ("/v1/containers", "/v1/containers/web-1", "/v1/containers/\u202e", "/v1/events?follow=0"):
        answer = api.client.get(path)
        assert answer.content.isascii(), path
    assert api.json("/v1/containers/web-1")["labels"]["fastroute.network"] == "net\u202e\x9b31m"


def test_status_shows_the_controller_and_its_keys(api: Api) -> None:
    answer = api.json("/v1/status")
    assert (answer["schema"], answer["router"], answer["controller"]["connected"]) == (
        "fastroute.status/v1",
        None,
        False,
    )
    api.sim.connect()
    api.sim.docker.run("web-1", LABELS)
    api.sim.docker.create("web-2", LABELS)
    api.sim.settle()
    answer = api.json("/v1/status")
    assert answer["controller"]["connected"]
    assert answer["controller"]["sources"] == ["FAKE"]
    (key,) = answer["keys"]
    assert (key["key"], key["ready"], key["total"]) == ("foo.com", 1, 1)
    assert (key["nodes"][0]["container"], key["nodes"][0]["state"]) == ("web-1", "ready")
    assert api.json("/v1/keys/FOO.com")["ready"] == 1
    assert api.client.get("/v1/keys/nobody.com").status_code == 404


def test_a_container_is_described_with_its_transitions(api: Api) -> None:
    api.sim.connect()
    one = api.sim.docker.run("web-1", LABELS)
    api.sim.settle()
    api.sim.docker.kill(one, 15)
    api.sim.settle()
    for name in ("web-1", one.id, one.id[:12]):
        states = [step["state"] for step in api.json(f"/v1/containers/{name}")["transitions"]]
        assert states == ["ready", "draining"]
    shown = api.json("/v1/containers/web-1")
    (route,) = shown["routes"]
    assert route["address"] == f"{one.networks['bridge']}:8000"
    assert "network bridge" in route["why"]
    assert (route["port"], route["weight"], route["drained"], route["in_flight"]) == (8000, 1, False, None)
    assert [step["cause"] for step in shown["transitions"]] == ["event start", "event kill 15"]
    assert (shown["schema"], shown["labels"]) == ("fastroute.container/v1", LABELS)
    (spec,) = shown["parsed"]
    assert (spec["keys"], spec["port"], spec["probe"]) == (["foo.com"], 8000, "none")
    assert (spec["weight"], spec["protocol"], spec["max"], spec["wait"]) == (1, "uwsgi", 0, None)
    assert (shown["docker"]["status"], shown["docker"]["networks"][0]["name"]) == ("running", "bridge")
    assert api.client.get("/v1/containers/nobody").status_code == 404


def test_metrics_have_the_promised_names(api: Api) -> None:
    api.sim.connect()
    api.sim.docker.run("web-1", LABELS)
    api.sim.settle()
    text = api.client.get("/metrics").text
    for line in (
        "fastroute_docker_connected 1.0",
        'fastroute_containers{state="ready"} 1.0',
        'fastroute_key_nodes{key="foo.com",state="ready"} 1.0',
        'fastroute_sync_drift_total{kind="changed"} 0.0',
        'fastroute_docker_events_total{action="start"} 1.0',
        'fastroute_event_to_route_seconds_count{op="remove"} 0.0',
        'fastroute_subscription_packets_total{op="join",result="applied"} 2.0',
        "fastroute_subscription_ack_seconds_count 0.0",
    ):
        assert line in text


def test_events_come_as_they_happen_after_those_that_were(api: Api) -> None:
    api.sim.connect()
    with api.client.stream("GET", "/v1/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert _next(lines)["text"].startswith("connected to Docker")
        api.sim.docker.run("web-1", LABELS)
        api.sim.settle()
        kinds = []
        while "route" not in kinds:
            note = _next(lines)
            kinds.append(note["kind"])
        assert note["text"].startswith("foo.com => node added: ")
        assert (note["container"], note["key"]) == ("web-1", "foo.com")
        assert "event" in kinds


JSON = {"content-type": "application/json"}


def test_a_key_is_described_with_all_containers_that_name_it(api: Api) -> None:
    api.sim.connect()
    for name in ("web-2", "web-1"):
        api.sim.docker.create(name, LABELS)
    api.sim.settle()
    found = api.json("/v1/keys/foo.com")
    assert [(one["name"], one["state"], one["reason"]) for one in found["containers"]] == [
        ("web-1", "pending", "created, not started"),
        ("web-2", "pending", "created, not started"),
    ]


def test_operators_drain_undrain_and_set_weights(api: Api) -> None:
    api.sim.connect()
    one = api.sim.docker.run("web-1", LABELS)
    api.sim.settle()
    address = f"{one.networks['bridge']}:8000"
    (name,) = api.sim.reconciler.desired
    api.in_flight[name] = 3
    expected = [{"key": "foo.com", "address": address, "container": "web-1", "in_flight": 3}]

    def post(verb: str, **body: object) -> httpx.Response:
        return api.client.post(f"/v1/{verb}", json=body)

    assert post("drain", target="web-1").json() == {"targets": expected}
    assert api.sim.state("web-1")[0] == "draining"
    assert api.json("/v1/containers/web-1")["routes"][0]["in_flight"] == 3
    assert api.json("/v1/keys/foo.com")["nodes"][0]["in_flight"] == 3
    assert post("undrain", target=address).json() == {"targets": expected}
    assert api.sim.state("web-1")[0] == "ready"
    assert post("weight", target="foo.com", weight=7).json() == {"targets": expected}
    assert api.sim.reconciler.desired[name].entry.options.weight == 7
    assert (post("drain", target="nobody").status_code, post("undrain", target="nobody").status_code) == (404, 404)


def test_requests_that_nobody_could_count_are_null(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastroute.controller.override_api.COUNT_TIMEOUT", 0.05)
    api.sim.connect()
    api.sim.docker.run("web-1", LABELS)
    api.sim.settle()
    answer = api.client.post("/v1/drain", json={"target": "web-1"})
    assert answer.json()["targets"][0]["in_flight"] is None


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("drain", "{"),
        ("drain", "[" * 8_000),
        ("drain", "[]"),
        ("drain", "{}"),
        ("drain", '{"target": 5}'),
        ("drain", '{"target": ""}'),
        ("drain", '{"target": "a", "wait": true}'),
        ("weight", '{"target": "a"}'),
        ("weight", '{"target": "a", "weight": -1}'),
        ("weight", '{"target": "a", "weight": true}'),
        ("weight", '{"target": "a", "weight": 65536}'),
    ],
)
def test_a_wish_that_is_none_is_refused_with_what_was_expected(api: Api, verb: str, body: str) -> None:
    answer = api.client.post(f"/v1/{verb}", content=body, headers=JSON)
    assert (answer.status_code, api.told) == (400, [])
    assert "expected" in answer.json()["error"]
    assert api.client.post(f"/v1/{verb}", content=body, headers={**JSON, "host": "evil"}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        (JSON, 202),
        ({**JSON, "host": "localhost:1"}, 202),
        ({**JSON, "host": "evil.example"}, 403),
        ({**JSON, "host": ""}, 403),
        ({**JSON, "origin": "http://evil.example"}, 403),
        ({**JSON, "origin": "null"}, 403),
        ({**JSON, "host": "evil.example", "authorization": "Bearer secret"}, 202),
        ({**JSON, "authorization": "Bearer wrong"}, 403),
        ({"content-type": "text/plain", "authorization": "Bearer secret"}, 403),
        ({**JSON, "x-forwarded-for": "127.0.0.1", "host": "127.0.0.1"}, 202),
    ],
)
def test_a_change_over_tcp_needs_loopback_all_the_way_or_the_token(
    api: Api, headers: dict[str, str], status: int
) -> None:
    assert api.client.post("/v1/resync", headers=headers).status_code == status
    assert api.told == ([Resync()] if status == 202 else [])


def test_a_change_over_the_unix_socket_needs_no_more(api: Api) -> None:
    assert api.unix.post("/v1/resync", headers=JSON).status_code == 202
    assert api.unix.get("/v1/resync").status_code == 405


def test_a_change_from_another_machine_needs_the_token(api: Api) -> None:
    """Another address of this machine stands for another machine."""
    from starlette.requests import Request

    from fastroute.router.admin_http.access import AccessPolicy, refuse_change

    def request(*headers: tuple[bytes, bytes]) -> Request:
        both = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1"), *headers]
        return Request({"type": "http", "headers": both, "client": ("192.0.2.1", 5), "method": "POST"})

    policy = AccessPolicy(unix=False, token_file=str(api.token_file))
    assert "Bearer" in refuse_change(request(), policy)
    assert refuse_change(request((b"authorization", b"Bearer secret")), policy) == ""
    assert refuse_change(request((b"authorization", b"Bearer secret")), AccessPolicy(unix=False, token_file=None)) != ""
    api.token_file.write_text("")
    assert refuse_change(request((b"authorization", b"Bearer ")), policy) != ""


READ = ("/v1/status", "/v1/containers", "/v1/containers/x", "/v1/keys/x", "/v1/events?follow=0", "/v1/nginx")


@pytest.mark.parametrize("path", READ)
def test_a_page_whose_name_was_pointed_here_reads_nothing(api: Api, path: str) -> None:
    """DNS rebinding: the browser believes to ask evil.example, which now means our address."""
    api.sim.connect()
    for host in ("evil.example", "evil.example:3034", "localhost.evil.example", "127.0.0.1.evil.example", "[x"):
        answer = api.client.get(path, headers={"host": host})
        assert (answer.status_code, "--admin-token-file" in answer.text) == (403, True), host
    for host in ("localhost", "LocalHost:9", "127.0.0.1", "[::1]:3034", "192.0.2.7:3034"):
        assert api.client.get(path, headers={"host": host}).status_code != 403, host
    token = {"host": "controller.internal", "authorization": "Bearer secret"}
    assert api.client.get(path, headers=token).status_code != 403
    assert api.client.get(path, headers={**token, "authorization": "Bearer wrong"}).status_code == 403
    assert api.unix.get(path, headers={"host": "evil.example"}).status_code != 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_are_for_whoever_asks(api: Api, path: str) -> None:
    api.sim.connect()
    assert api.client.get(path, headers={"host": "controller:3034"}).status_code == 200


def _next(lines: Iterator[str]) -> dict:  # type: ignore[type-arg]
    return next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_the_unix_socket_is_gone_when_it_ends(tmp_path: Path) -> None:
    one = Api(tmp_path)
    path = tmp_path / "admin.sock"
    assert path.is_socket()
    one.close()
    assert not path.exists()
