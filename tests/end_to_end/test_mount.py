"""Applications below a path: Flask's ``url_for`` and Django's ``reverse`` are right behind ``mount=script-name``.

Real servers, each as its users start it.  uWSGI needs nothing more, gunicorn reads the prefix from a header.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.programs import Program, Router, UwsgiWorker, free_port, listens
from support.uwsgi_client import Answer, ask

HOST = "shop.test"
FLASK = """
from flask import Flask, redirect, url_for
application = Flask(__name__)

@application.get("/")
def home():
    return "home " + url_for("user", number=7)

@application.get("/users/<int:number>")
def user(number):
    return f"{number} {url_for('home')} {url_for('user', number=number, _external=True)}"

@application.get("/go")
def go():
    return redirect(url_for("user", number=1))
"""
DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

def home(request):
    return HttpResponse("home " + reverse("user", args=[7]))

def user(request, number):
    there = request.build_absolute_uri(reverse("user", args=[number]))
    return HttpResponse(f"{number} {reverse('home')} {there}")

def go(request):
    return HttpResponseRedirect(reverse("user", args=[1]))

class Urls:
    urlpatterns = [path("", home, name="home"), path("users/<int:number>", user, name="user"), path("go", go)]

settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="none")
application = get_wsgi_application()
"""
FRAMEWORKS = {"flask": FLASK, "django": DJANGO}
PROXY_FIX = """
from werkzeug.middleware.proxy_fix import ProxyFix
application = ProxyFix(application, x_prefix=1)
"""
#: Server -> protocol of its node, and what is behind ``gunicorn``.
GUNICORNS = {"gunicorn": ("http", ()), "gunicorn-uwsgi": ("uwsgi", ("--protocol", "uwsgi"))}


def gunicorn(stack: ExitStack, text: str, options: tuple[str, ...], folder: Path) -> str:
    """The address of a gunicorn with the application ``text``."""
    folder.mkdir()
    (folder / "site_app.py").write_text(text + PROXY_FIX)
    address = f"127.0.0.1:{(port := free_port())}"
    command = ("gunicorn", "--bind", address, "--pythonpath", str(folder), *options, "site_app:application")
    program = stack.enter_context(Program(str(Path(sys.executable).with_name(command[0])), *command[1:]))
    program.wait_for(lambda: listens(port), "gunicorn listens")
    return address


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """``/FRAMEWORK-SERVER`` is each application; and the same again below ``/FRAMEWORK-SERVER/v2``."""
    with ExitStack() as stack:
        nodes: list[str] = []
        for framework, text in FRAMEWORKS.items():
            libraries = ("--pythonpath", sysconfig.get_path("purelib"))
            uwsgi = stack.enter_context(UwsgiWorker(framework, *libraries, app=text))
            addresses = {"uwsgi": (uwsgi.address, "uwsgi")}
            for server, (protocol, options) in GUNICORNS.items():
                folder = tmp_path_factory.mktemp("app") / server
                addresses[server] = gunicorn(stack, text, options, folder), protocol
            for server, (address, protocol) in addresses.items():
                for path in (f"/{framework}-{server}", f"/{framework}-{server}/v2"):
                    nodes += ["--node", f"{HOST}{path}={address},protocol={protocol},mount=script-name"]
        yield stack.enter_context(Router(*nodes))


@pytest.mark.parametrize("server", ["uwsgi", *GUNICORNS])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("below", ["", "/v2"])
def test_urls_of_the_application_are_right(router: Router, framework: str, server: str, below: str) -> None:
    prefix = f"/{framework}-{server}{below}"

    def get(path: str) -> Answer:
        return ask(router.port, HOST, path=path, HTTP_X_FORWARDED_PREFIX="/evil")

    assert get(f"{prefix}/").body == f"home {prefix}/users/7".encode()
    assert get(f"{prefix}/users/5?a=1").body == f"5 {prefix}/ http://{HOST}{prefix}/users/5".encode()
    moved = get(f"{prefix}/go")
    assert (moved.status, moved.headers["location"]) == (302, f"{prefix}/users/1")
    root = get(prefix)
    assert root.body == f"home {prefix}/users/7".encode() or root.headers["location"].endswith(f"{prefix}/")
    assert get(f"{prefix}/nothing").status == 404
