"""``fastroute-ctl announce`` with real workers, our router and uWSGI's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.announcing import CTL, Announced, listener, uwsgi
from support.programs import ECHO_APP, Program, Router, UwsgiFastRouter, free_port, wait_for
from support.uwsgi_client import ask
from support.workers import Worker, answers

LOCAL = ("--key", "foo.com", "--address", "127.*:0")


@pytest.fixture
def router() -> Iterator[Router]:
    with Router() as router:
        yield router


def at(router: Router | UwsgiFastRouter, host: str = "127.0.0.1") -> tuple[str, str]:
    return "--router", f"{host}:{router.port}"


def routed(router: Router | UwsgiFastRouter, key: str = "foo.com") -> bool:
    return ask(router.port, key).status == 200


def test_a_worker_behind_a_router_by_name_and_a_request_in_flight_finishes(router: Router, tmp_path: Path) -> None:
    command = uwsgi(tmp_path, "one")
    with Announced(*at(router, "localhost"), *LOCAL, "--key", "bar.com", "--probe", "/", command=command) as one:
        one.wait_for(lambda: routed(router) and routed(router, "bar.com"), "both keys are routed")
        slow: list[int] = []
        thread = threading.Thread(target=lambda: slow.append(ask(router.port, "bar.com", path="/?sleep=1.2").status))
        thread.start()
        one.wait_line("a request sleeps")
        assert one.stop() == 0
        thread.join()
        assert slow == [200]
        assert ask(router.port, "foo.com").status == 503
        order = [one.output().index(text) for text in ("SIGTERM: withdrawing", "SIGTERM to the command", "goodbye")]
        assert order == sorted(order)


def test_the_original_and_ours_are_told_side_by_side(router: Router, tmp_path: Path) -> None:
    with UwsgiFastRouter() as original:
        command = uwsgi(tmp_path, "one")
        with Announced(*at(router), *at(original), *LOCAL, "--grace", "0.6", command=command) as one:
            one.wait_for(lambda: routed(router) and routed(original), "both route")
            assert one.stop() == 0
            assert ask(router.port, "foo.com").status == 503
            assert not routed(original)


def test_port_alone_means_our_own_ip_to_both_kinds_of_router(router: Router) -> None:
    with UwsgiFastRouter() as original, Worker(answers(b"here")) as worker:
        port = worker.address.rpartition(":")[2]
        arguments = (*at(router), *at(original), "--key", "foo.com", "--address", f":{port}", "--grace", "0")
        with Announced(*arguments) as one:
            router.wait_line(f"foo.com => new node: 127.0.0.1:{port}")
            original.wait_line(f"foo.com => new node: 127.0.0.1:{port}")
            one.wait_for(lambda: ask(original.port, "foo.com").body == b"here", "the original routes")
            assert one.stop() == 0


def test_withdrawn_while_the_port_does_not_accept_and_back_when_it_does(router: Router) -> None:
    worker = Worker(answers())
    port = int(worker.address.rpartition(":")[2])
    with Announced(*at(router), "--key", "foo.com", "--address", f"127.0.0.1:{port}") as one:
        one.wait_for(lambda: routed(router), "routed")
        worker.close()
        router.wait_line(f"node removed: 127.0.0.1:{port} (withdrawn)")
        with Worker(answers(), port=port):
            one.wait_for(lambda: routed(router), "routed again")
            assert one.stop() == 0


def test_the_exit_code_is_the_commands_and_its_death_withdraws(router: Router, tmp_path: Path) -> None:
    with Announced(*at(router), *LOCAL, command=listener(tmp_path)) as one:
        router.wait_line("new node")
        pid = int(subprocess.check_output(["pgrep", "-P", str(one.process.pid)]))
        os.kill(pid, signal.SIGKILL)
        assert one.ended() == 128 + signal.SIGKILL
        router.wait_line("(withdrawn)")


def test_signals_are_passed_on_and_the_end_is_announced_first(router: Router, tmp_path: Path) -> None:
    with Announced(*at(router), *LOCAL, command=listener(tmp_path)) as one:
        one.wait_line("announced and acked")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
            one.send_signal(number)
            one.wait_line(f"got {number.name}")
        assert one.stop(signal.SIGINT) == 7
        assert "got SIGINT" in one.output()
        assert "(withdrawn)" in router.output()


def test_a_second_sigterm_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    silent = socket.socket(type=socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    target = f"127.0.0.1:{silent.getsockname()[1]}"
    with silent, Announced("--router", target, *LOCAL, "--grace", "60", command=listener(tmp_path)) as one:
        one.wait_line("listens")
        assert silent.recv(4096)[3] == 0
        one.send_signal(signal.SIGTERM)
        one.wait_line("withdrawing")
        began = time.monotonic()
        assert one.stop() == 7
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/etc/hostname", 126)])
def test_what_cannot_be_run_ends_as_in_a_shell(command: str, code: int) -> None:
    done = subprocess.run([CTL, "announce", *LOCAL, "--", command], capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert done.stderr.startswith(f"fastroute-ctl announce: {command}: ")


@pytest.mark.parametrize("program", [[CTL], [sys.executable, "-m", "fastroute.ctl.main"]], ids=["entry", "click"])
def test_everything_but_the_command_may_be_variables(program: list[str]) -> None:
    environ = os.environ | {"FASTROUTE_KEY": "foo.com", "FASTROUTE_ADDRESS": ":0", "FASTROUTE_ROUTER": "127.0.0.1:9"}
    command = [*program, "announce", "--", "sh", "-c", "exit 9"]
    assert subprocess.run(command, env=environ, capture_output=True, timeout=30).returncode == 9


def test_announce_imports_the_standard_library_only() -> None:
    command = [sys.executable, "-X", "importtime", CTL, "announce", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    for name in ("click", "yaml", "rich", "httpx"):
        assert f" {name}\n" not in done.stderr


def test_as_first_process_it_reaps_orphans(tmp_path: Path) -> None:
    script = "for i in 1 2 3; do (sleep 0.1 & ) ; done; sleep 1; ps -e -o stat= | grep -c Z; exit 5"
    space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*space, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces for this user here")
    done = subprocess.run(
        [*space, CTL, "announce", "--router", "127.0.0.1:9", *LOCAL, "--", "sh", "-c", script],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "0\n")


def test_a_router_that_starts_anew_is_told_within_a_heartbeat(tmp_path: Path) -> None:
    port = free_port()
    options = ("--listen", f"127.0.0.1:{port}", "--subscription-server", f"127.0.0.1:{port}")
    arguments = ("--router", f"127.0.0.1:{port}", *LOCAL, "--key", "bar.com")
    with Announced(*arguments, command=listener(tmp_path)) as one:
        for _ in range(2):
            with Router(*options) as router:
                for key in ("foo.com", "bar.com"):
                    router.wait_line(f"{key} => new node", 15)
        assert one.stop() == 7


def test_with_the_secret_and_with_a_signature(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    pem, keys = tmp_path / "private.pem", tmp_path / "keys"
    keys.mkdir()
    subprocess.run(["openssl", "genrsa", "-out", str(pem), "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", str(pem), "-pubout", "-out", str(keys / "foo.com.pem")], check=True,
                   capture_output=True)  # fmt: skip
    checks = [
        (("--subscription-secret-file", str(secret)), ("--subscription-secret-file", str(secret))),
        (("--subscription-sign-check", f"sha256:{keys}"), ("--sign", f"SHA256:{pem}")),
    ]
    for on_router, on_agent in checks:
        with (
            Router("--subscription-allow", "192.0.2.0/24", *on_router) as router,
            Announced(*at(router), *LOCAL, *on_agent, command=listener(tmp_path)) as one,
        ):
            router.wait_line("foo.com => new node")
            one.wait_line("announced and acked")
            assert one.stop() == 7
            router.wait_line("(withdrawn)")


def test_no_request_fails_while_announced_workers_are_replaced_one_by_one(router: Router, tmp_path: Path) -> None:
    def start(name: str) -> Announced:
        return Announced(*at(router), *LOCAL, "--probe", "/", command=uwsgi(tmp_path, name))

    running = [start("w0"), start("w1")]
    try:
        wait_for(lambda: router.output().count("new node") == 2, "both joined")
        seen: list[int] = []
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                seen.append(ask(router.port, "foo.com").status)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(2):
            new = start(f"n{turn}")
            running.append(new)
            new.wait_line("announced and acked")
            assert running.pop(0).stop() == 0
        over.set()
        for thread in threads:
            thread.join()
        assert set(seen) == {200}
        assert len(seen) > 100
    finally:
        for one in running:
            one.__exit__(None, None, None)


LIBRARY = """
import os, socket, sys, time
from fastroute.ctl import announce
assert "click" not in sys.modules
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
with announce(["foo.com", "bar.com"], f"127.0.0.1:{port}", ROUTER, weight=3, grace=0) as told:
    deadline = time.monotonic() + 20
    while not told.announced and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told.announced
    if os.fork() == 0:
        told.close()  # of the child's, nothing
        os._exit(0)
    os.wait()
    print("announced", flush=True)
    sys.stdin.readline()
print("closed", flush=True)
"""


def test_inside_an_application(router: Router) -> None:
    code = LIBRARY.replace("ROUTER", repr(f"127.0.0.1:{router.port}"))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"announced\n"
        assert router.output().count("new node") == 2
        assert "withdrawn" not in router.output()
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"closed\n"
        assert router.output().count("(withdrawn)") == 2


BEFORE_SIGTERM = """
import signal, socket, sys, time
from fastroute.ctl import announce
def server_ends(*_):
    print("the server sees SIGTERM", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, server_ends)
server = socket.create_server(("127.0.0.1", 0))
told = announce("foo.com", f"127.0.0.1:{server.getsockname()[1]}", ROUTER, before_sigterm=True).start()
deadline = time.monotonic() + 20
while not told.announced and time.monotonic() < deadline:
    time.sleep(0.01)
assert told.announced
print("announced", flush=True)
while time.monotonic() < deadline:  # SIGTERM comes twice: the second one, once the worker is withdrawn, ends us
    time.sleep(0.05)
"""


def test_inside_an_application_before_its_server_ends(router: Router) -> None:
    code = BEFORE_SIGTERM.replace("ROUTER", repr(f"127.0.0.1:{router.port}"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"announced\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"the server sees SIGTERM\n"
        assert "(withdrawn)" in router.output()
        assert process.wait(10) == 0


GUNICORN = """
from fastroute.ctl import announce
bind, protocol, uwsgi_allow_ips, workers = "127.0.0.1:PORT", "uwsgi", "*", 2
def when_ready(server):
    server.announcement = announce("foo.com", bind, ROUTER, probe="/", before_sigterm=True).start()
def on_exit(server):
    server.announcement.close()
"""


def test_inside_gunicorn_a_request_in_flight_finishes(router: Router, tmp_path: Path) -> None:
    conf, app = tmp_path / "gunicorn.conf.py", tmp_path / "app.py"
    conf.write_text(GUNICORN.replace("PORT", str(free_port())).replace("ROUTER", repr(f"127.0.0.1:{router.port}")))
    app.write_text("NAME = 'one'\n" + textwrap.dedent(ECHO_APP))
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    with Program(gunicorn, "-c", str(conf), "--chdir", str(tmp_path), "app:application") as program:
        program.wait_for(lambda: routed(router), "routed")
        slow: list[int] = []
        thread = threading.Thread(target=lambda: slow.append(ask(router.port, "foo.com", path="/?sleep=1").status))
        thread.start()
        program.wait_line("a request sleeps")
        assert program.stop() == 0
        thread.join()
        assert slow == [200]
        assert "(withdrawn)" in router.output()


ASGI = """
import asyncio, contextlib
from fastroute.ctl import announce
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def slow(request):
    if seconds := float(request.query_params.get("sleep", 0)):
        print("a request sleeps", flush=True)
        await asyncio.sleep(seconds)
    return PlainTextResponse("one")

@contextlib.asynccontextmanager
async def lifespan(app):
    async with announce("foo.com", "127.0.0.1:PORT", ROUTER, protocol="http", probe="/", before_sigterm=True):
        yield

app = Starlette(routes=[Route("/", slow)], lifespan=lifespan)
"""


def test_inside_an_asgi_application_a_request_in_flight_finishes(router: Router, tmp_path: Path) -> None:
    port = str(free_port())
    (tmp_path / "app.py").write_text(ASGI.replace("PORT", port).replace("ROUTER", repr(f"127.0.0.1:{router.port}")))
    uvicorn = str(Path(sys.executable).with_name("uvicorn"))
    with Program(uvicorn, "--app-dir", str(tmp_path), "--port", port, "app:app") as program:
        program.wait_for(lambda: routed(router), "routed")
        slow: list[int] = []
        thread = threading.Thread(target=lambda: slow.append(ask(router.port, "foo.com", path="/?sleep=1").status))
        thread.start()
        program.wait_line("a request sleeps")
        program.send_signal(signal.SIGTERM)
        router.wait_line("(withdrawn)")
        assert "Shutting down" not in program.output()
        program.ended()
        thread.join()
        assert slow == [200]


def test_arguments_of_the_library_are_checked() -> None:
    from fastroute.ctl import announce

    for arguments, expected in (
        (("foo.com", ":0"), "the port that this process listens on expected"),
        (("a b", ":80"), "key: 'a b' is no key"),
        (("foo.com", ":80", ()), "at least one key and one router"),
    ):
        with pytest.raises(ValueError, match=expected):
            announce(*arguments)
