"""nginx mode with a real nginx and real workers, without Docker."""

from __future__ import annotations

import random
import re
import signal
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.entries import pool_row
from support.nginx_mode import PROGRAMS, ServedNginx, Sink
from support.nginx_states import custom, desired, route
from support.programs import UwsgiWorker, free_port, wait_for
from support.workers import Connection, Worker, answers, closes_early, response

from fastroute.controller.decide.labels import parse_labels
from fastroute.controller.desired import ContainerRoutes, Route, RouteStatus
from fastroute.controller.nginx_mode.names import file_name
from fastroute.controller.nginx_mode.nginx_config import AbsentContainer, ConfigState, render
from fastroute.controller.views import View
from fastroute.router.protocol.node_options import non_defaults
from fastroute.router.protocol.wire import encode_packet, encode_vars
from fastroute.router.relay.replica import Replica


@pytest.fixture
def nginx() -> Iterator[ServedNginx]:
    with ServedNginx() as running:
        yield running


@pytest.fixture(scope="module")
def frame() -> Iterator[ServedNginx]:
    """One whose files are only tested."""
    with ServedNginx() as running:
        yield running


@pytest.fixture
def sink(nginx: ServedNginx) -> Iterator[Sink]:
    running = Sink(nginx)
    yield running
    running.close()


@pytest.mark.parametrize("program", PROGRAMS)
def test_requests_reach_the_key_that_the_router_would_find(program: str) -> None:
    """Random keys, each with a worker that says its name; the router's own search is the oracle."""
    chance = random.Random(11)
    hosts = ["foo.com", "a.foo.com", "b.a.foo.com", "bar.com", "[::1]"]
    names = [*hosts, "*.foo.com", "*.com", "*.a.foo.com"]
    paths = ["", "/a", "/a/b", "/ab", "/A"]
    keys = sorted({chance.choice(names) + chance.choice(paths) for _ in range(15)})
    replica = Replica(random.Random(1))
    replica.apply([["reset"], *(pool_row(key, "wrr") for key in keys), ["done"]])
    # Whoever answers is the location of the key: its include says so.
    includes = {f"{file_name(key)}.location.conf": f'return 200 "{key}";\n' for key in keys}
    routes = [route(key, "127.0.0.1:9", protocol=chance.choice(["uwsgi", "http"])) for key in keys]
    with ServedNginx(PROGRAMS[program]) as nginx:
        nginx.install(render(ConfigState(desired(*routes)), custom(includes), nginx.options))
        nginx.send_signal(signal.SIGHUP)
        nginx.wait_for(lambda: listening(nginx), "nginx listens")
        for host in (*hosts, "x.org", "FOO.com", "z.a.foo.com"):
            for port in ("", ":80", ":8080"):
                for path in (*paths, "/a/b/c", "/abc", "/a/", "//a", "/a///b//"):
                    asked = (host + port).encode()
                    packet = encode_packet(
                        0, 0, encode_vars([(b"HTTP_HOST", asked), (b"PATH_INFO", (path or "/").encode())])
                    )
                    pool = replica.find(asked, packet, len(packet))
                    answer = nginx.get(host + port, path or "/")
                    expected = (200, pool.key) if pool else (404, f"no worker has announced {host.lower()}\n")
                    assert (answer.status, answer.text) == expected, (host, port, path)


def listening(nginx: ServedNginx) -> bool:
    try:
        return nginx.get("nobody").status == 404
    except OSError:
        return False


def test_a_key_with_a_port_is_for_requests_that_name_it(nginx: ServedNginx, sink: Sink) -> None:
    with UwsgiWorker("any") as one, UwsgiWorker("port") as two:
        sink.settle(route("foo.com", one.address), route("foo.com:8080", two.address), route("bar.com:81", two.address))
        assert nginx.get("foo.com").text.startswith("any ")
        assert nginx.get("foo.com:80").text.startswith("any ")
        assert nginx.get("foo.com:8080").text.startswith("port ")
        assert nginx.get("FOO.com.:8080").text.startswith("port ")
        assert nginx.get("bar.com:81").text.startswith("port ")
        assert (nginx.get("bar.com").status, nginx.get("bar.com").headers["X-Fastroute-Error"]) == (404, "no-key")


def test_answers_of_our_own(nginx: ServedNginx, sink: Sink) -> None:
    with UwsgiWorker("foo") as worker:
        sink.settle(route("foo.com", worker.address), route("none.com", ""))
        assert nginx.get("foo.com").status == 200
        for host, status, kind in (("x.org", 404, "no-key"), ("none.com", 503, "no-node")):
            answer = nginx.get(host)
            assert (answer.status, answer.headers["X-Fastroute-Error"]) == (status, kind)
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert host in answer.text
        assert nginx.get("none.com").headers["Retry-After"] == "1"
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            head = client.makefile("rb").read()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"X-Fastroute-Error: bad-request" in head
        worker.kill()
        answer = nginx.get("foo.com")
        assert (answer.status, answer.headers["X-Fastroute-Error"]) == (502, "bad-gateway")


def test_a_worker_that_stopped_costs_no_get_and_no_post_is_sent_twice(nginx: ServedNginx, sink: Sink) -> None:
    """The worker is gone and nginx does not know: the requests that it refuses go to the other one."""
    with UwsgiWorker("one") as one, UwsgiWorker("two") as two:
        sink.settle(route("foo.com", one.address), route("foo.com", two.address, "b"))
        assert {nginx.get("foo.com").text.split()[0] for _ in range(10)} == {"one", "two"}
        one.stop()
        for _ in range(20):
            assert nginx.get("foo.com").text.startswith("two ")
            assert nginx.get("foo.com", method="POST", body=b"abc").text == "two foo.com 3\n"


#: What the sink never looks at.
NO_FACTS: Any = None
WAITING_APP = """
    import os, time
    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"begun "
        while not os.path.exists(environ["QUERY_STRING"]):
            time.sleep(0.02)
        yield b"ended"
"""


def test_a_long_answer_survives_twenty_reloads(nginx: ServedNginx, sink: Sink) -> None:
    gate = nginx.home / "gate"
    with UwsgiWorker("slow", app=WAITING_APP) as slow:
        sink.settle(route("foo.com", slow.address))
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(nginx.get("foo.com", f"/?{gate}").text))
        asking.start()
        for number in range(20):
            before = sink.applier.stats.reloads
            sink.apply(route("foo.com", slow.address), route("bar.com", "127.0.0.1:9", weight=number + 1))
            wait_for(lambda: sink.applier.stats.reloads > before, f"reload {number}")  # noqa: B023
        assert answers == []
        gate.touch()
        asking.join(20)
        assert answers == ["begun ended"]


def test_ten_changes_in_two_seconds_are_at_most_three_reloads() -> None:
    with ServedNginx(nginx_min_interval=1.0) as nginx, UwsgiWorker("foo") as worker:
        sink = Sink(nginx)
        try:
            sink.settle(route("foo.com", worker.address))
            before = sink.applier.stats.reloads
            last = [route("foo.com", worker.address)]
            for number in range(10):
                last.append(route(f"k{number}.com", worker.address, str(number)))
                sink.apply(*last)
                time.sleep(0.2)
            sink.settle(*last)
            assert sink.applier.stats.reloads - before <= 3
            began = time.monotonic()
            sink.settle(route("foo.com", ""), *last[1:])
            assert time.monotonic() - began < 0.9, "a key without a live node waits for no interval"
        finally:
            sink.close()


def test_a_broken_template_or_include_and_a_restart_of_nginx(nginx: ServedNginx, sink: Sink) -> None:
    templates = nginx.home / "templates"
    (templates / "includes").mkdir()
    with UwsgiWorker("foo") as worker:
        sink.settle(route("foo.com", worker.address))
        for name, text in (("server.conf.j2", "server {{ nobody }}"), ("server.conf.j2", "server { zonk;"),
                           ("key.conf.j2", "}"), ("http.conf.j2", "{% for %}")):  # fmt: skip
            (templates / name).write_text(text)
            sink.reread()
            wait_for(lambda: name in sink.applier.error, f"{name} is said to be broken: {sink.applier.error}")  # noqa: B023
            assert nginx.get("foo.com").status == 200
            assert nginx.starts() == ""
            (templates / name).unlink()
            sink.reread()
            wait_for(lambda: not sink.applier.error, "all is well again")
        (templates / "includes" / "foo.com.conf").write_text("zonk on;\n")
        sink.reread()
        wait_for(lambda: sink.applier.quarantined, "the key is set aside")
        assert sink.applier.quarantined["foo.com"].startswith(f"{templates}/includes/foo.com.conf:1: unknown directive")
        assert nginx.starts() == ""
        assert nginx.get("foo.com").status == 503
        (templates / "includes" / "foo.com.conf").write_text("add_header X-Mine yes always;\n")
        sink.reread()
        wait_for(lambda: not sink.applier.quarantined and nginx.get("foo.com").headers.get("X-Mine"), "it is back")


def test_comments_say_who_is_not_in_and_why_without_a_reload(nginx: ServedNginx, sink: Sink) -> None:
    sink.settle(route("foo.com", "127.0.0.1:9"))
    before, generation = sink.applier.stats.reloads, sink.mode.status()["generation"]
    for state, reason in (("probing", "waiting for its port"), ("unhealthy", "its HEALTHCHECK fails\n}")):
        shown = RouteStatus("foo.com", "127.0.0.1:10", "", 10, state, reason, 1, False)
        offer = ContainerRoutes("9", "web-9", "9@1", "", 1, 1, state, reason, "", statuses=(shown,))
        sink.views[:] = [View(offer, NO_FACTS, (), "", ())]
        said = f"# not in: container web-9, {state}: {reason.splitlines()[0]}"
        file = nginx.home / "fastroute" / "generations" / str(generation) / "keys" / "foo.com.conf"
        wait_for(lambda: said in file.read_text(), f"{said} in {file}")  # noqa: B023
    assert sink.applier.stats.reloads == before
    assert nginx.starts() == ""


def test_nginx_that_is_not_there_and_comes_back() -> None:
    with ServedNginx() as nginx, UwsgiWorker("foo") as worker:
        nginx.stop(signal.SIGQUIT)
        sink = Sink(nginx)
        try:
            sink.apply(route("foo.com", worker.address))
            wait_for(lambda: sink.applier.error.startswith("nginx does not run"), "it is said that nginx is away")
            assert nginx.starts() == ""
            again = subprocess.Popen([nginx.program, "-c", str(nginx.config)], stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda: not sink.applier.error and sink.serves(), "nginx serves it")
                assert nginx.get("foo.com").status == 200
            finally:
                again.send_signal(signal.SIGQUIT)
                again.wait(10)
        finally:
            sink.close()


@pytest.mark.parametrize("way", ["signal", "command", "agent"])
def test_each_way_to_reach_nginx(nginx: ServedNginx, way: str) -> None:
    command, home = f"command:nginx -c {nginx.config} -s reload", nginx.home
    agent = None
    if way == "command":
        nginx.settings = replace(nginx.settings, nginx_reload=command)
    if way == "agent":
        where = ["--socket", f"{home}/agent.sock", "--conf-dir", nginx.settings.nginx_conf_dir, "--reload", command]
        how = ["--test", nginx.settings.nginx_test, "--status", str(nginx.settings.nginx_status)]
        program = [sys.executable, "-m", "fastroute.controller.nginx.agent", *where, *how]
        agent = subprocess.Popen(program, stderr=subprocess.DEVNULL)
        wait_for((home / "agent.sock").exists, "the agent listens")
        nginx.settings = replace(nginx.settings, nginx_agent=f"{home}/agent.sock", nginx_reload="signal:/nowhere")
    sink = Sink(nginx)
    try:
        sink.settle(route("foo.com", ""), route("bar.com", "127.0.0.1:9"))
        assert nginx.get("foo.com").status == 503
        nginx.stop(signal.SIGQUIT)
        sink.apply(route("bar.com", "127.0.0.1:8"))
        wait_for(lambda: sink.applier.error.startswith("nginx does not run"), f"it is said: {sink.applier.error}")
        assert "\n" not in sink.applier.error
        if agent:
            agent.kill()
            wait_for(lambda: "agent.sock does not answer" in sink.applier.error, "the agent is missed")
    finally:
        sink.close()
        if agent:
            agent.kill()
            agent.wait()


KILLED = """
import sys, time
sys.path[:0] = sys.argv[1:2]
from dataclasses import replace
from support.nginx_mode import Sink
from support.nginx_states import route
from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.address import parse_address
home, status, port = sys.argv[2:]
class Where:
    settings = replace(
        ControllerSettings(mode="nginx"), nginx_conf_dir=home + "/fastroute", nginx_listen=("127.0.0.1:" + port,),
        nginx_test=f"nginx -t -c {home}/nginx.conf", nginx_reload=f"signal:{home}/nginx.pid",
        nginx_status=parse_address(status), nginx_min_interval=0.0)
sink, number = Sink(Where()), int(time.time() * 1000) % 100000
print("begun", flush=True)
while True:
    number += 1
    sink.apply(*(route(f"k{one}.com", f"127.0.0.1:{10000 + (number + one) % 20000}") for one in range(30)))
    time.sleep(0.01)
"""


def test_a_controller_killed_at_any_instant_leaves_what_nginx_can_start_with(nginx: ServedNginx) -> None:
    chance = random.Random(5)
    tests = str(Path(__file__).parents[1])
    arguments = [tests, str(nginx.home), str(nginx.settings.nginx_status), str(nginx.port)]
    for _ in range(8):
        victim = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE)
        assert victim.stdout
        victim.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.8))
        victim.kill()
        victim.wait()
        victim.stdout.close()
        assert nginx.starts() == ""
    sink = Sink(nginx)
    try:
        sink.settle(route("foo.com", "127.0.0.1:1"))
    finally:
        sink.close()
    assert len(list((nginx.home / "fastroute" / "generations").iterdir())) <= 2


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=string.punctuation + "\n\r\t ab0\0\x1b\u2028é", max_size=40),
    st.sampled_from((
        "a\nb", "foo.com;", "foo.com{", "}", "$host", "${host}", '"', "'", "\\", "foo.com\\", "#", "a" * 10_000,
        "x.com/" + "a" * 240, ".".join(["a" * 60] * 4), "*.*.com", "~^foo", ".foo.com", "default_server", "_", "*",
        "foo.com/$x", "FOO.COM", "foo.com/a;b", "foo.com/'x'", "foo.com/a{b}", "foo.com/%0a", "[::1]", "foo.com/B/b",
        "[::ffff:1.2.3.4]/x", "1.2.3.4", "localhost:99999", "foo.com/~a", "foo.com/=", "foo.com/@x", "a_b.com",
        "foo.com/*", "-.com", "xn--a.com", "foo.com/b/B", "foo.com:80", "foo.com:0080", "foo.com/.", "foo.com//x",
    )),
)  # fmt: skip
LABELS = st.fixed_dictionaries(
    {"fastroute.key": st.one_of(HOSTILE, st.lists(HOSTILE, max_size=4).map(",".join)), "fastroute.port": st.just("80")},
    optional={
        "fastroute.algorithm": st.sampled_from(["wrr", "lrc", "wlrc", "iphash", "random2", "x;"]),
        "fastroute.weight": st.sampled_from(["0", "1", "65535", "1;"]),
        "fastroute.backup": st.sampled_from(["0", "1", "255"]),
        "fastroute.protocol": st.sampled_from(["uwsgi", "http", "}"]),
        "fastroute.modifier1": st.sampled_from(["0", "255"]),
    },
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(st.tuples(LABELS, HOSTILE, HOSTILE), min_size=40, max_size=80), st.sampled_from(sorted(PROGRAMS)))
def test_any_labels_make_what_nginx_takes_or_are_refused_with_a_reason(
    frame: ServedNginx, containers: list[tuple[dict[str, str], str, str]], program: str
) -> None:
    """Each run is many containers in one ``nginx -t``; names and reasons (comments) are hostile too."""
    routes, absent, keys = list[Route](), {}, set()
    for number, (labels, name, reason) in enumerate(containers):
        parsed = parse_labels(labels, (80,), "fastroute")
        assert parsed.routes or parsed.problems
        for spec in parsed.routes:
            for key in spec.keys:
                keys.add(key)
                absent[key] = (AbsentContainer(name, reason, reason),)
                more = non_defaults(spec.options) | {
                    "weight": spec.options.weight or 1,
                    "drain": not spec.options.weight,
                }
                routes.append(route(key, f"10.9.{number}.1:80", name or "x", **more))
    found = render(ConfigState(desired(*routes), absent), custom({}), frame.options)
    refused = {problem.key for problem in found.problems if problem.text.startswith("not served: ")}
    assert {key for key, _, _ in found.served} == keys - refused
    frame.install(found)
    frame.program = PROGRAMS[program]
    assert frame.starts() == ""


def test_what_a_worker_may_have_begun_is_sent_again_only_if_it_is_idempotent(nginx: ServedNginx, sink: Sink) -> None:
    with Worker(closes_early) as broken, Worker(answers(b"fine")) as fine:
        sink.settle(route("foo.com", broken.address), route("foo.com", fine.address, "b", backup=1))
        assert nginx.get("foo.com").text == "fine"
        wait_for(
            lambda: nginx.get("foo.com", method="POST", body=b"pay").status == 502, "it is tried again after a while"
        )
        posts = [one for one in (*broken.requests, *fine.requests) if one.vars[b"REQUEST_METHOD"] == b"POST"]
        answered = [one for one in posts if one in fine.requests]
        assert len([one for one in posts if one in broken.requests]) == 1
        assert len(answered) == len(posts) - 1


def http_worker(listener: socket.socket, accepted: list[int]) -> None:
    """HTTP/1.1 over connections that are kept; an upgrade is accepted and echoes."""
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        accepted.append(1)
        threading.Thread(target=http_requests, args=(link,), daemon=True).start()


def http_requests(link: socket.socket) -> None:
    with link, link.makefile("rb") as reader:
        while line := reader.readline():
            head = {}
            while (field := reader.readline()) not in (b"\r\n", b""):
                name, _, value = field.decode().partition(":")
                head[name.lower()] = value.strip()
            if "upgrade" in head:
                link.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                link.sendall(b"echo " + reader.read(4))
                return
            body = f"{line.decode().split()[0]} {head.get('host')} {head.get('x-forwarded-for')} {head.get('proxy')}"
            link.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def test_a_worker_that_speaks_http_keeps_its_connections_and_upgrades(nginx: ServedNginx, sink: Sink) -> None:
    accepted: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=http_worker, args=(listener, accepted), daemon=True).start()
        sink.settle(route("foo.com", f"127.0.0.1:{listener.getsockname()[1]}", protocol="http"))
        for _ in range(20):
            answer = nginx.get("foo.com", **{"X-Forwarded-For": "6.6.6.6", "Proxy": "evil"})  # type: ignore[arg-type]
            assert answer.text == "GET foo.com 127.0.0.1 None"
        assert len(accepted) <= 4, "nginx's two workers keep a connection or two each"
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as client:
            client.sendall(b"GET /ws HTTP/1.1\r\nHost: foo.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            reader = client.makefile("rb")
            assert b" 101 " in reader.readline()
            while reader.readline() != b"\r\n":
                pass
            client.sendall(b"ping")
            assert reader.read(9) == b"echo ping"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_node_that_is_a_name_is_looked_up(nginx: ServedNginx, sink: Sink) -> None:
    with UwsgiWorker("foo") as worker:
        sink.apply(route("foo.com", f"localhost:{worker.port}"))
        wait_for(lambda: ("foo.com", worker.address, "web-1@1") in sink.serves(), "the address behind the name")
        assert nginx.get("foo.com").text.startswith("foo ")


def test_a_node_at_its_max_gets_no_request_more_of_all_nginx_workers_together(nginx: ServedNginx, sink: Sink) -> None:
    """nginx has no queue: who finds no node is answered at once."""
    answering = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        answering.wait(20)
        connection.send(response(b"done"))

    with Worker(slow) as worker, ThreadPoolExecutor(20) as clients:
        sink.settle(route("foo.com", worker.address, max=3, wait=5.0))
        requests = [clients.submit(nginx.get, "foo.com") for _ in range(20)]
        try:
            wait_for(lambda: sum(request.done() for request in requests) == 17, "17 of 20 answered at once")
            assert len(worker.requests) == 3
            assert {request.result().status for request in requests if request.done()} == {502}
        finally:
            answering.set()
        assert sorted(request.result().status for request in requests) == [200] * 3 + [502] * 17
    assert "nginx: foo.com: wait 5 s has no effect in nginx mode" in "\n".join(sink.said())


def test_a_trusted_proxy_says_who_the_client_is() -> None:
    with ServedNginx(nginx_trusted_proxies=("127.0.0.0/8",)) as nginx, Worker(shows_vars) as worker:
        sink = Sink(nginx)
        try:
            sink.settle(route("foo.com", worker.address))
            forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.com"}
            found = nginx.get("foo.com", **forwarded, Proxy="evil").text  # type: ignore[arg-type]
        finally:
            sink.close()
    assert found == "203.0.113.7|203.0.113.7, 127.0.0.1|https|on|shop.com|"


def shows_vars(connection: Connection) -> None:
    connection.read_packet()
    names = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "REQUEST_SCHEME", "HTTPS", "HTTP_X_FORWARDED_HOST", "HTTP_PROXY")
    connection.send(response(b"|".join(connection.vars.get(name.encode(), b"") for name in names)))


def test_the_recipe_for_tls(nginx: ServedNginx, sink: Sink) -> None:
    port, own = free_port(), nginx.home / "templates"
    for name in ("default", "foo.com"):
        certificate(nginx.home, name)
    (own / "includes").mkdir()
    (own / "listen.conf.j2").write_text(
        "{% for address in listen %}\n    listen {{ address }}{{ ' default_server' if default }};\n{% endfor %}\n"
        f"    listen 127.0.0.1:{port} ssl{{{{ ' default_server' if default }}}};\n"
    )
    pair = "ssl_certificate {home}/{name}.pem;\nssl_certificate_key {home}/{name}.key;\n"
    (own / "includes" / "foo.com.conf").write_text(pair.format(home=nginx.home, name="foo.com"))
    text = nginx.config.read_text()
    nginx.config.write_text(
        text.replace("access_log off;", "access_log off; " + pair.format(home=nginx.home, name="default"))
    )
    with UwsgiWorker("foo") as foo:
        sink.reread()
        sink.settle(route("foo.com", foo.address), route("bar.com", foo.address))
        for host, name in (("foo.com", "foo.com"), ("bar.com", "default"), ("nobody.com", "default")):
            assert served_certificate(port, host) == name


def certificate(home: Path, name: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    subject = ["-subj", f"/CN={name}", "-keyout", str(home / f"{name}.key"), "-out", str(home / f"{name}.pem")]
    subprocess.run([*command, *subject], check=True, capture_output=True)


def served_certificate(port: int, host: str) -> str:
    """The common name of the certificate that ``host`` gets."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", host], input="",
                          capture_output=True, text=True, timeout=20)  # fmt: skip
    return re.search(r"subject=.*CN ?= ?(\S+)", done.stdout)[1]  # type: ignore[index]


def test_clients_stay_with_their_node_where_nginx_knows_how() -> None:
    with (
        ServedNginx(PROGRAMS["newest"], nginx_version=(1, 29, 6)) as nginx,
        Worker(answers(b"one")) as one,
        Worker(answers(b"two")) as two,
    ):
        sink = Sink(nginx)
        try:
            sink.settle(*(route("foo.com", worker.address, sticky="cookie:fr") for worker in (one, two)))
            for _ in range(4):
                first = nginx.get("foo.com")
                cookie, *attributes = first.headers["Set-Cookie"].split("; ")
                assert cookie.startswith("fr=")
                assert {text.lower() for text in attributes} >= {"path=/", "httponly", "samesite=lax"}
                assert {nginx.get("foo.com", Cookie=cookie).text for _ in range(4)} == {first.text}
            assert not any("sticky" in text for text in sink.said())
        finally:
            sink.close()
