"""The page in a real browser: it answers an operator's questions, for everybody, and nothing that it shows can bite."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route
from support.browser import PHONE, WIDE, Scheme, Tab, chromium
from support.fake_docker import FakeDocker, fake_engine
from support.page import PageProgram
from support.programs import Controller, Router, wait_for
from support.uwsgi_client import ask, subscription_packet
from support.workers import Connection, Worker

pytestmark = pytest.mark.timeout(300)

HOSTILE = "<img src=x onerror=alert(1)>"
VIEWS = {"overview": "/", "containers": "/containers", "events": "/events", "routers": "/routers",
         "key": "/key/shop.example.com"}  # fmt: skip


class World:
    """A router, a controller whose engine exists only here, workers that answer what ``statuses`` say, a page."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.statuses = stack, dict[str, int]()
        self.docker: FakeDocker = stack.enter_context(fake_engine(folder))
        self.router = stack.enter_context(Router())
        self.controller = stack.enter_context(Controller(self.docker.url, self.router))
        for name in ("shop-1", "shop-2", "blog-1"):
            self.run(name, f"{name[:4]}.example.com")
        self.docker.run(HOSTILE, {"fastroute.key": "evil.example.com", "fastroute.port": "</script>'\"><b>x"})
        self.page = stack.enter_context(PageProgram([self.router], [self.controller]))
        self._ended = threading.Event()
        self._load = threading.Thread(target=self._ask, daemon=True)
        self._load.start()
        stack.callback(self.close)

    def run(self, name: str, key: str) -> None:
        """A container with a real worker."""

        def script(connection: Connection) -> None:
            connection.read_packet()
            connection.send(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.statuses.get(name, 200))

        worker = Worker(script)
        self.stack.callback(worker.close)
        labels = {"fastroute.key": key, "fastroute.probe": "none"}
        port = int(worker.address.rpartition(":")[2])
        self.docker.run(name, labels, address="127.0.0.1", ports=[port])

    def _ask(self) -> None:
        while not self._ended.wait(0.1):
            for host in ("shop.example.com", "blog.example.com"):
                try:
                    ask(self.router.port, host)
                except OSError:
                    pass

    def close(self) -> None:
        self._ended.set()
        self._load.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests; each leaves it as it was."""
    with ExitStack() as stack:
        yield World(stack, tmp_path_factory.mktemp("engine"))


@contextmanager
def tab(browser: Browser, world: World, path: str = "/", **options: object) -> Iterator[Tab]:
    """A tab, which complains of nothing."""
    with Tab(browser, f"{world.page.url}/#{path}", **options) as one:  # type: ignore[arg-type]
        one.wait_text("#fresh-text", "Live")
        yield one
        assert one.complaints == []


def test_is_it_serving_and_what_fails_and_what_changed(browser: Browser, world: World) -> None:
    with tab(browser, world) as one:
        one.wait_text("h1", "Serving")
        one.wait_text(".table-keys .row", "shop.example.com")
        one.page.locator(".flow-line.flow-busy").first.wait_for(state="attached")
        shop = world.docker.containers["blog-1"]
        world.docker.stop_container(shop)
        one.wait_text("h1", "1 of 2 keys failing")
        one.wait_text(".problem", "nobody serves it (blog-1: stopped")
        one.wait_text(".happened li", "blog-1 is stopped")
        one.picture("key-down")
        world.docker.start_container(shop, "127.0.0.1")
        one.wait_text("h1", "Serving")
        one.wait_text(".happened li", "blog-1 joined")


def test_errors_make_their_lines_red_and_are_said(browser: Browser, world: World) -> None:
    with tab(browser, world) as one:
        world.statuses["shop-1"] = 500
        one.page.locator(".flow-line-bad").first.wait_for(state="attached")
        one.wait_text(".problem", "errors (5xx)")
        one.picture("errors")
        world.statuses.clear()
        one.go("/key/shop.example.com")
        one.wait_text(".table-nodes .row", "shop-2")
        wait_for(lambda: one.page.locator(".main-chart .area-5xx").get_attribute("d"), "errors in the chart")


def test_why_a_container_gets_no_traffic(browser: Browser, world: World) -> None:
    with tab(browser, world, "/containers") as one:
        one.wait_text(".table-containers .row", "shop-1")
        one.page.get_by_role("button", name="Something is wrong").click()
        row = one.page.locator(".table-containers .row:not([hidden])")
        row.filter(has_text="is no number from 1 to 65535").wait_for()
        assert row.filter(has_text="blog-1").count() == 0
        one.page.get_by_role("button", name="All").click()
        one.page.get_by_placeholder("Name, key, address or reason").fill("blog")
        wait_for(lambda: row.count() == 1, "one is found")
        row.get_by_role("link", name="blog-1").click()
        one.wait_text("h1", "blog-1")
        one.wait_text(".detail", "fastroute.probe")
        one.wait_text(".detail", "blog.example.com")
        one.picture("container")


@pytest.mark.parametrize("view", VIEWS)
def test_names_and_labels_are_text_and_never_markup(browser: Browser, world: World, view: str) -> None:
    with tab(browser, world, VIEWS[view]) as one:
        if view in ("overview", "containers", "events"):
            one.wait_text("main", HOSTILE)
        assert one.page.locator("main img, main script, main b").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Browser, world: World, size: object, scheme: Scheme
) -> None:
    found = {}
    with tab(browser, world, size=size, scheme=scheme) as one:
        for view, path in VIEWS.items():
            one.go(path)
            one.page.locator("main [role=table]:not([hidden]), main .card").first.wait_for()
            found[view] = one.axe()
            wider = one.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, view
            one.picture(f"{view}-{'wide' if size is WIDE else 'phone'}-{scheme}")
    assert {view: rules for view, rules in found.items() if rules} == {}


def test_the_keyboard_reaches_everything(browser: Browser, world: World) -> None:
    with tab(browser, world) as one:
        one.wait_text(".table-keys .row", "shop.example.com")
        focused = lambda what: one.page.evaluate(f"document.activeElement.{what}")  # noqa: E731
        one.page.keyboard.press("Tab")
        assert focused("id") == "skip"
        one.page.keyboard.press("Enter")
        assert focused("id") == "main"
        one.page.locator("#theme").focus()
        one.page.keyboard.press("Enter")
        assert one.page.evaluate("document.documentElement.dataset.theme") == "dark"
        one.page.keyboard.press("Enter")
        one.page.locator(".table-keys .row a.name").first.focus()
        first = focused("textContent")
        one.page.keyboard.press("ArrowDown")
        assert focused("textContent") != first
        one.page.keyboard.press("ArrowUp")
        assert focused("textContent") == first
        one.page.keyboard.press("Enter")
        one.wait_text("h1", first)
        assert focused("id") == "main"
        slider = one.page.get_by_label("Look back")
        slider.focus()
        wait_for(lambda: slider.get_attribute("max") == "119", "there is a history")
        one.page.keyboard.press("ArrowLeft")
        one.wait_text("output.when", "ago")


def test_nothing_moves_for_those_who_want_nothing_to_move(browser: Browser, world: World) -> None:
    with tab(browser, world, reduced_motion="reduce") as one:
        one.page.locator(".flow-line.flow-busy").first.wait_for(state="attached")
        assert one.page.evaluate("document.getAnimations().length") == 0
    with tab(browser, world, reduced_motion="no-preference") as one:
        one.page.locator(".flow-line.flow-busy").first.wait_for(state="attached")
        wait_for(lambda: one.page.evaluate("document.getAnimations().length") > 0, "traffic moves")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_what_is_there_stays_where_it_is(browser: Browser, world: World, size: object) -> None:
    sum_up = """new Promise(done => new PerformanceObserver(list => done(
        list.getEntries().filter(one => !one.hadRecentInput).reduce((sum, one) => sum + one.value, 0)
    )).observe({type: "layout-shift", buffered: true}) || setTimeout(() => done(0), 300))"""
    # A reason is longer than the line that says all is well.
    world.statuses["shop-1"] = 500
    with tab(browser, world, size=size) as one:
        one.wait_text(".problem", "errors (5xx)")
    world.statuses.clear()
    for view, path in VIEWS.items():
        with tab(browser, world, path, size=size) as one:
            one.page.locator("main [role=table]:not([hidden]), main .card").first.wait_for()
            shifted = one.page.evaluate(sum_up)
            # Google's limit of what is good is 0.1.
            assert shifted < 0.02, (view, shifted)


def test_it_says_when_its_numbers_are_old_and_finds_back_by_itself(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        world = World(stack, tmp_path)
        with tab(browser, world) as one:
            one.wait_text("h1", "Serving")
            world.router.stop()
            one.wait_text("h1", "Not known")
            one.wait_text("#fresh-text", "old")
            one.wait_text(".verdict", "No router has answered for")
            assert "old" in (one.page.locator("main").get_attribute("class") or "")
            one.picture("router-silent")
            back = stack.enter_context(
                Router.at(world.router.port, world.router.admin_port, "--listen", f"127.0.0.1:{world.router.port}")
            )
            one.wait_text("#fresh-text", "Live")
            one.wait_text("h1", "Serving")
            assert back.process.poll() is None
            # The page itself: what is shown is the last that was known, and it comes back without a reload.
            world.page.stop()
            one.wait_text("#fresh-text", "No connection")
            again = ("--listen", f"127.0.0.1:{world.page.port}")
            stack.enter_context(PageProgram([world.router], [world.controller], *again))
            one.wait_text("#fresh-text", "Live")


#: Scrolled distance of one frame, frames, and the time that the main thread may work for one of them: of 33 ms, at 30
#: frames a second, on a machine that has more to do.
STEP, FRAMES, MAX_FRAME_MS = 400, 120, 16.0
SCROLL = """([step, frames]) => new Promise(done => {
    const began = performance.now();
    let left = frames;
    const frame = () => {
        scrollBy(0, step);
        if (--left) requestAnimationFrame(frame);
        else done((performance.now() - began) / frames);
    };
    requestAnimationFrame(frame);
})"""


def test_a_script_that_did_not_come_is_fetched_again(browser: Browser, world: World) -> None:
    """Chromium gives up what it loads when the machine's network changes, and modules have no second try."""
    with Tab(browser, "about:blank") as one:
        given_up: set[str] = set()

        def answer(route: Route) -> None:
            # Each file once: all that is on its way is given up together.
            if route.request.url in given_up:
                route.fallback()
            else:
                given_up.add(route.request.url)
                route.abort("addressunreachable")

        one.page.route("**/web/*", answer)
        one.page.goto(f"{world.page.url}/#/")
        one.wait_text("#fresh-text", "Live")


def test_five_thousand_nodes_scroll_without_stutter(browser: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    with Router("--tolerance", "600") as router, PageProgram([router], []) as page:
        announce_many(router, 5000)
        for path, rows in (("/key/many.example.com", ".table-nodes"), ("/containers", ".table-containers")):
            with Tab(browser, f"{page.url}/#{path}") as one:
                table = one.page.locator(rows)
                wait_for(lambda table=table: table.get_attribute("aria-rowcount") == "5001", "all rows are there", 60)
                assert one.page.locator(f"{rows} .row").count() < 120, "only what can be seen is in the document"
                session = one.context.new_cdp_session(one.page)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                before = busy_seconds(session)
                frame_ms = one.page.evaluate(SCROLL, [STEP, FRAMES])
                work_ms = (busy_seconds(session) - before) * 1000 / FRAMES
                with capsys.disabled():
                    print(f"\n{path}: {1000 / frame_ms:.0f} frames/s, {work_ms:.1f} ms of the main thread's CPU each")
                assert work_ms < MAX_FRAME_MS
                one.picture("many-nodes")
                one.page.evaluate("scrollTo(0, 1e9)")
                one.page.locator(f"{rows} [aria-rowindex='5001']").wait_for()
                assert one.complaints == []


def busy_seconds(session: Any) -> float:
    """CPU that the main thread of the tab has used."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def announce_many(router: Router, count: int) -> None:
    """Nodes of one key, none of which is there."""
    addresses = (f"127.0.{number // 250}.{number % 250 + 1}:80" for number in range(count))
    packets = [subscription_packet("many.example.com", address) for address in addresses]

    def known() -> int:
        answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/keys/many.example.com", timeout=10)
        return int(answer.json()["total"]) if answer.status_code == 200 else 0

    def announced() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for at, packet in enumerate(packets):
                sock.sendto(packet, ("127.0.0.1", router.port))
                if at % 200 == 199:
                    time.sleep(0.01)
        return known() == count

    wait_for(announced, f"{count} nodes", 60)
