"""What the controller relies on of an engine, asked of a real one, and of the fake one that most tests stand on.

One list for all of them.  Where the real engine says otherwise, the list is wrong, and then the fake one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from support.engines import LABELS, Engine, FakeEngine, RealEngine, engine_of
from support.fake_docker import REPLAYED
from support.programs import wait_for

from fastroute.controller.decide.container import nanoseconds, read_inspect, read_network, read_summary

REAL = pytest.param("real", marks=pytest.mark.docker)

Do = Callable[[Engine, str], None]


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_of(request.param, tmp_path) as found:
        yield found


@dataclass
class Step:
    """What is done, the events that tell of it, and what inspect says then: status, health, and the networks, each
    with ``+`` (an address and an endpoint) or ``-`` (neither)."""

    do: Do
    events: str
    state: str


CREATE = Step(lambda engine, id: None, "create", "created one-")
START = Step(lambda engine, id: engine.start(id), "connect one, start", "running one+")
STOP = Step(lambda engine, id: engine.stop(id), "kill 15, die 0, disconnect one, stop", "exited one-")
#: Each begins with a container on network one, and ends with its removal.
CASES: dict[str, list[Step]] = {
    "never started": [CREATE],
    "stopped and started again": [CREATE, START, STOP, START, STOP],
    "stopped by a signal of its own": [
        CREATE,
        START,
        Step(lambda engine, id: engine.stop(id), "kill 3, die 0, disconnect one, stop", "exited one-"),
    ],
    "deaf to its signal": [
        CREATE,
        START,
        Step(
            lambda engine, id: engine.stop(id, deaf=True),
            "kill 15, kill 9, die 137, disconnect one, stop",
            "exited one-",
        ),
    ],
    "sent signals that it survives": [
        CREATE,
        START,
        Step(lambda engine, id: engine.kill(id, 1), "kill 1", "running one+"),
        Step(lambda engine, id: engine.kill(id, 18), "kill 18", "running one+"),
    ],
    "killed": [
        CREATE,
        START,
        Step(lambda engine, id: engine.kill(id, 9), "kill 9, die 137, disconnect one", "exited one-"),
    ],
    "ended by itself": [
        CREATE,
        START,
        Step(lambda engine, id: engine.end(id, 3), "die 3, disconnect one", "exited one-"),
    ],
    "restarted": [
        CREATE,
        START,
        Step(
            lambda engine, id: engine.restart(id),
            "kill 15, die 0, disconnect one, stop, connect one, start, restart",
            "running one+",
        ),
    ],
    "removed while it runs": [CREATE, START],
    "paused": [
        CREATE,
        START,
        Step(lambda engine, id: engine.pause(id), "pause", "paused one+"),
        Step(lambda engine, id: engine.unpause(id), "unpause", "running one+"),
    ],
    "with a HEALTHCHECK": [
        Step(CREATE.do, "create", "created one-"),
        Step(START.do, START.events, "running starting one+"),
        Step(lambda engine, id: engine.be(id, "healthy"), "health_status: healthy", "running healthy one+"),
        Step(lambda engine, id: engine.be(id, "unhealthy"), "health_status: unhealthy", "running unhealthy one+"),
        Step(STOP.do, STOP.events, "exited unhealthy one-"),
        Step(START.do, START.events, "running starting one+"),
    ],
    "moved between networks": [
        CREATE,
        START,
        Step(lambda engine, id: engine.connect(id, "two"), "connect two", "running one+ two+"),
        Step(lambda engine, id: engine.disconnect(id, "one"), "disconnect one", "running two+"),
        Step(lambda engine, id: engine.stop(id), "kill 15, die 0, disconnect two, stop", "exited two-"),
        Step(lambda engine, id: engine.connect(id, "one"), "", "exited one- two-"),
        Step(lambda engine, id: engine.disconnect(id, "two"), "disconnect two", "exited one-"),
        START,
    ],
    "renamed": [CREATE, START, Step(lambda engine, id: engine.rename(id, "other"), "rename", "running one+")],
}
#: What is left to tell when a container is removed.
REMOVED = {True: "kill 9, die 137, disconnect one, destroy", False: "destroy"}


@pytest.mark.parametrize("engine", ["fake", "simulated", REAL], indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_a_container(engine: Engine, case: str) -> None:
    steps = CASES[case]
    with engine.listen() as stream:
        more: dict[str, Any] = {"health": "HEALTHCHECK" in case}
        if "signal of its own" in case:
            more["stop_signal"] = "SIGQUIT"
        id = engine.create("worker", **more)
        for step in steps:
            step.do(engine, id)
            wait_for(lambda step=step: state(engine, id) == step.state, f"{step.state}, not {state(engine, id)}")
        engine.remove(id)
        wait_for(lambda: any(event["Action"] == "destroy" for event in of(stream.seen, id)), "the end in the events")
        events = of(stream.seen, id)
    wanted = [step.events for step in steps if step.events]
    assert told(engine, events) == ", ".join([*wanted, REMOVED["running" in steps[-1].state]])
    check(events, id)
    assert engine.get(f"/containers/{id}/json")[0] == 404


def of(events: list[dict[str, Any]], id: str) -> list[dict[str, Any]]:
    """The events of a container, but for the execs."""
    mine = (event for event in events if id in (event["Actor"]["ID"], event["Actor"]["Attributes"].get("container")))
    return [event for event in mine if not event["Action"].startswith("exec_")]


def told(engine: Engine, events: list[dict[str, Any]]) -> str:
    """The events in short; one that is told twice running is once there."""
    words = []
    for event in events:
        attributes = event["Actor"]["Attributes"]
        detail = attributes.get("signal") or attributes.get("exitCode") if event["Type"] == "container" else None
        if event["Type"] == "network":
            detail = engine.known(attributes["name"])
        words.append(f"{event['Action']} {detail}" if detail else event["Action"])
    return ", ".join(word for word, _ in groupby(words))


def check(events: list[dict[str, Any]], id: str) -> None:
    """What every event has."""
    for event in events:
        attributes = event["Actor"]["Attributes"]
        assert event["time"] == event["timeNano"] // 10**9
        assert event["scope"] == "local"
        if event["Type"] == "container":
            assert event["Actor"]["ID"] == event["id"] == id
            assert event["status"] == event["Action"]
            assert LABELS.items() <= attributes.items()
            assert {"name", "image"} <= attributes.keys()
        else:
            assert (event["Type"], attributes["type"]) == ("network", "bridge")
            assert {"container", "name", "type"} == attributes.keys()
    times = [event["timeNano"] for event in events]
    assert times == sorted(times)


def state(engine: Engine, id: str) -> str:
    """What inspect says, in short; the list says the same wherever it can."""
    status, answer = engine.get(f"/containers/{id}/json")
    assert status == 200
    container = read_inspect(answer)
    rows = [row for row in engine.get("/containers/json", all="1")[1] if row["Id"] == id]
    (summary,) = map(read_summary, rows)
    assert container.labels.items() >= LABELS.items()
    assert container.labels == summary.labels
    if container.running or not container.health:
        assert summary.fingerprint == container.fingerprint
    assert bool(container.started_ns) == (container.status != "created")
    assert container.status != "exited" or container.finished_ns > container.started_ns
    networks = []
    for end in container.endpoints:
        assert bool(end.id) == bool(end.address)
        networks.append(engine.known(end.network) + ("+" if end.address else "-"))
    return " ".join(
        filter(None, (container.status, "" if container.status == "created" else container.health, *networks))
    )


@pytest.mark.parametrize("engine", ["fake", "simulated", REAL], indirect=True)
def test_every_start_is_another_owner_with_another_endpoint(engine: Engine) -> None:
    id = engine.create("worker")
    owners, endpoints = set(), set()
    for _ in range(2):
        engine.start(id)
        container = read_inspect(engine.get(f"/containers/{id}/json")[1])
        owners.add(container.owner)
        endpoints.add(container.endpoints[0].id)
        engine.stop(id)
    assert (len(owners), len(endpoints)) == (2, 2)


@pytest.mark.parametrize("engine", ["fake", "simulated", REAL], indirect=True)
def test_lists_are_filtered_by_state_and_by_label(engine: Engine) -> None:
    id = engine.create("worker")

    def listed(**filters: list[str]) -> bool:
        return id in [row["Id"] for row in engine.get("/containers/json", all="1", filters=filters)[1]]

    (label,) = (f"{name}={value}" for name, value in LABELS.items())
    assert listed()
    assert listed(status=["created"])
    assert not listed(status=["running"])
    assert listed(label=[label])
    assert listed(label=[label.partition("=")[0]], status=["created"])
    assert not listed(label=[f"{label}?"])
    assert not listed(label=[label, "another"])


@pytest.mark.parametrize("engine", ["fake", "simulated", REAL], indirect=True)
def test_networks_say_where_they_are_and_their_gateway(engine: Engine) -> None:
    networks = {engine.known(row["Name"]): read_network(row) for row in engine.get("/networks")[1]}
    assert networks["one"].local_bridge
    assert networks["one"].gateway.count(".") == 3


@pytest.mark.parametrize("engine", ["fake", REAL], indirect=True)
def test_the_engine_tells_its_name_and_time(engine: FakeEngine | RealEngine) -> None:
    assert engine.get("/_ping") == (200, "OK")
    info = engine.get("/info")[1]
    assert info["ID"]
    assert info["ServerVersion"]
    assert abs(nanoseconds(info["SystemTime"]) - time.time_ns()) < 60 * 10**9
    assert engine.api.version(api_version=False)["ApiVersion"]


@pytest.mark.parametrize("engine", ["fake", REAL], indirect=True)
def test_who_is_not_there_is_a_404(engine: FakeEngine | RealEngine) -> None:
    assert engine.get("/containers/nobody/json") == (404, {"message": "No such container: nobody"})


def text(time_ns: int) -> str:
    """A time as ``since`` and ``until`` take it."""
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


@pytest.mark.parametrize("engine", ["fake", REAL], indirect=True)
def test_the_past_is_replayed_from_and_up_to_and_then_the_stream_goes_on(engine: FakeEngine | RealEngine) -> None:
    id = engine.create("worker")
    with engine.listen() as live:
        engine.start(id)
        engine.stop(id)
        wait_for(lambda: told(engine, of(live.seen, id)).endswith("stop"), "the stop in the events")
        first, *_, last = of(live.seen, id)
    began, ended = first["timeNano"], last["timeNano"]
    assert of(engine.past(text(began), text(ended)), id) == of(live.seen, id), "both bounds are in"
    assert of(engine.past(text(began + 1), text(ended - 1)), id) == of(live.seen, id)[1:-1], "nothing beyond them is"
    with engine.listen(since=text(began)) as resumed:
        engine.remove(id)
        wait_for(lambda: told(engine, of(resumed.seen, id)).endswith("destroy"), "the end in the events")
    assert told(engine, of(resumed.seen, id)) == f"{START.events}, {STOP.events}, destroy"


@pytest.mark.parametrize("engine", ["fake", REAL], indirect=True)
def test_of_the_past_only_the_last_events_are_replayed(engine: FakeEngine | RealEngine) -> None:
    id = engine.create("worker")
    engine.start(id)
    since = nanoseconds(read_inspect(engine.get(f"/containers/{id}/json")[1]).started_at)
    for _ in range(REPLAYED + 20):
        engine.kill(id, 18)
    past = engine.past(text(since), text(time.time_ns()))
    assert len(past) == REPLAYED
    assert "start" not in told(engine, of(past, id))
