"""The stack's page in a browser: an operator's questions, answered while it is deployed to, scaled and broken."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser
from support.browser import Tab, chromium
from support.programs import wait_for
from support.stack import Stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def page_of(stack: Stack, path: str = "/") -> str:
    return f"http://localhost:{stack.page_port}/#{path}"


def test_it_is_there_and_for_this_machine_alone(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.page_port}/"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"Host": "rebound.example"}).status_code == 403
    assert httpx.post(f"{url}v1/drain", json={"target": "foo.com"}).status_code == 404


def test_is_it_serving_what_changed_and_what_fails(stack: Stack, two_foos: set[str], browser: Browser) -> None:
    with Tab(browser, page_of(stack)) as tab, stack.load("foo.com"):
        tab.page.locator("h1").filter(has_text=re.compile("Serving|failing")).wait_for()
        tab.wait_text(".table-keys .row", "foo.com")
        tab.page.locator(".flow-line.flow-busy").first.wait_for(state="attached")
        # Scaled: the new container is one more node, and that is what changed.
        two = set(stack.containers("foo"))
        stack.scale("foo", 3)
        three = set(stack.containers("foo"))
        (joined,) = three - two
        # Several at once are one line: the first two may have joined just now.
        tab.wait_text(".happened li", re.compile(rf"{joined} joined|nodes joined"))
        tab.wait_text(".table-keys .row", "3/3")
        stack.scale("foo", 2)
        (left,) = three - set(stack.containers("foo"))
        tab.wait_text(".happened li", re.compile(rf"{left} left|nodes left"))
        # Broken: its only container stops.
        bar = stack.containers("bar")[0]
        stack.docker("stop", bar)
        # Keys of the tests before may be there as well.
        tab.wait_text("h1", "failing")
        problem = tab.page.locator(".problem", has_text=f"nobody serves it ({bar}: stopped")
        problem.wait_for()
        tab.picture("stack-bar-stopped")
        stack.docker("start", bar)
        problem.wait_for(state="detached")
        stack.wait_healthy("bar")
        assert tab.complaints == []


def test_why_a_container_gets_no_traffic(stack: Stack, two_foos: set[str], browser: Browser) -> None:
    labels = ("--label", "fastroute.key=foo.com", "--label", "fastroute.port=80 or so")
    with (
        stack.container("--no-healthcheck", *labels, "--entrypoint", "sleep", stack.image("foo"), "600") as name,
        Tab(browser, page_of(stack, "/containers")) as tab,
    ):
        row = tab.page.locator(".table-containers .row").filter(has_text=name)
        row.filter(has_text="is no number from 1 to 65535").wait_for()
        row.get_by_role("link", name=name).click()
        tab.wait_text(".detail", "80 or so")
        first = stack.containers("foo")[0]
        stack.ctl("drain", first)
        try:
            tab.go("/key/foo.com")
            tab.wait_text(".table-nodes .row", "draining: it gets no new requests")
        finally:
            stack.ctl("undrain", first)
        wait_for(lambda: tab.page.locator(".table-nodes .row", has_text="draining").count() == 0, "it is back")
        assert tab.complaints == []


def test_a_router_that_restarts_is_found_again(stack: Stack, two_foos: set[str], browser: Browser) -> None:
    with Tab(browser, page_of(stack)) as tab:
        tab.wait_text("#fresh-text", "Live")
        stack.docker("stop", stack.containers("router")[0])
        tab.wait_text("h1", "Not known")
        tab.wait_text("#fresh-text", "old")
        tab.picture("stack-router-stopped")
        stack.up()
        # Keys of the tests before may be there as well, and fail.
        tab.page.locator("h1").filter(has_text=re.compile("Serving|failing")).wait_for()
        tab.wait_text("#fresh-text", "Live")
        tab.wait_text(".table-keys .row", "2/2")
        assert tab.complaints == []


def test_in_nginx_mode_it_shows_what_nginx_serves(nginx_stack: Stack, browser: Browser) -> None:
    with Tab(browser, page_of(nginx_stack)) as tab:
        tab.wait_text("h1", "Serving")
        tab.wait_text(".table-keys .row", "foo.com")
        tab.go("/key/foo.com")
        tab.wait_text(".verdict-text", "nginx serves it from 2 nodes")
        tab.go("/routers")
        tab.wait_text(".card", "nginx refused no key")
        tab.picture("stack-nginx-mode")
        assert tab.complaints == []
