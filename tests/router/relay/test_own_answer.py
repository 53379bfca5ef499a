"""Our own answer comes as page, JSON or text, as its client asks; what nobody asked for changed is as it was."""

from __future__ import annotations

import json
import random

import pytest
from support.uwsgi_client import request_packet

from fastroute.router.config.error_pages import PageBlock, read_index
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.error_pages import NO_PAGES, ErrorPages
from fastroute.router.relay.own_answer import own_answer
from fastroute.router.relay.replies import STATUS, Refusal

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TEXT = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 8\r\n"
    "X-Fastroute-Error: {kind}\r\n{retry}Cache-Control: no-store\r\nConnection: close\r\n\r\nbecause\n"
)


def with_pages(**pages: str) -> ErrorPages:
    """Pages of all keys (``_503``), and of ``*.foo.com`` (``foo_503``)."""
    block = PageBlock()
    for name, page in pages.items():
        folder, _, file = name.rpartition("_")
        assert block.add("*.foo.com" if folder else "", f"{file}.html", page.encode()) == ""
    head, _, _ = block.to_bytes().partition(b"\n")
    return ErrorPages(read_index(head), memoryview(block.to_bytes()), len(head) + 1)


def answer(kind: str, pages: ErrorPages = NO_PAGES, text: str = "because", host: str = "a.foo.com", keys: str = "",
           **values: str) -> tuple[str, bytes]:  # fmt: skip
    context = RelayContext({}, 100, "", None, 0.0, pages)
    context.replica.apply([["reset"], *(["pool", key, {}] for key in keys.split()), ["done"]])
    packet = request_packet(host, **values)  # type: ignore[arg-type]
    whole = own_answer(context, Refusal(kind, text), host.encode("latin-1"), packet, len(packet))
    head, _, body = whole.partition(b"\r\n\r\n")
    return head.decode("ascii"), body


@pytest.mark.parametrize("kind", STATUS)
@pytest.mark.parametrize("accept", [None, "", "*/*", "text/plain, text/html", "image/png, text/html;q=0"])
@pytest.mark.parametrize("pages", [NO_PAGES, with_pages(_404="<p>", _502="<p>", _503="<p>", _504="<p>")])
def test_who_asks_for_nothing_else_gets_the_text_as_ever(kind: str, accept: str | None, pages: ErrorPages) -> None:
    values = {} if accept is None else {"HTTP_ACCEPT": accept}
    head, body = answer(kind, pages, **values)
    retry = "Retry-After: 1\r\n" if STATUS[kind].startswith("503") else ""
    retry += "X-Content-Type-Options: nosniff\r\n" if kind == "maintenance" else ""
    assert f"{head}\r\n\r\n{body.decode()}" == TEXT.format(status=STATUS[kind], kind=kind, retry=retry)


@pytest.mark.parametrize("kind", ["bad-request", "too-large"])
def test_answers_from_before_a_key_is_known_are_text(kind: str) -> None:
    pages = with_pages(_404="<p>", _502="<p>", _503="<p>", _504="<p>")
    for accept in (BROWSER, "application/json"):
        head, body = answer(kind, pages, HTTP_ACCEPT=accept)
        assert (body, "Content-Type: text/plain; charset=utf-8" in head) == (b"because\n", True)


def test_a_browser_gets_the_page() -> None:
    pages = with_pages(_503="<p>$status $key $message $request_id</p>")
    head, body = answer("no-node", pages, HTTP_ACCEPT=BROWSER, HTTP_X_REQUEST_ID="r<1>")
    assert body == b"<p>503 a.foo.com because r&lt;1&gt;</p>"
    assert head.split("\r\n") == [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "X-Fastroute-Error: no-node",
        "X-Request-ID: r<1>",
        "Retry-After: 1",
        "Cache-Control: no-store",
        "Connection: close",
    ]


def test_a_script_gets_json_also_where_there_are_no_pages() -> None:
    for pages in (NO_PAGES, with_pages(_404="<p>")):
        head, body = answer("no-key", pages, HTTP_ACCEPT="application/json", HTTP_X_REQUEST_ID="r1")
        assert "\r\nContent-Type: application/json; charset=utf-8\r\n" in head
        assert json.loads(body) == {"error": "no-key", "message": "because", "key": "a.foo.com", "request_id": "r1"}


def test_where_there_is_no_page_the_next_form_is_taken() -> None:
    pages = with_pages(_404="<p>")
    assert answer("timeout", pages, HTTP_ACCEPT="text/html, application/json;q=0.5")[1][:1] == b"{"
    assert answer("timeout", pages, HTTP_ACCEPT="text/html, application/json;q=0")[1] == b"because\n"
    assert answer("timeout", pages, HTTP_ACCEPT=BROWSER)[1] == b"because\n"


@pytest.mark.parametrize("accept", ["", BROWSER, "application/json"])
def test_a_head_request_gets_the_head_only(accept: str) -> None:
    pages = with_pages(_503="<p>$message")
    head, body = answer("no-node", pages, HTTP_ACCEPT=accept)
    assert answer("no-node", pages, method="HEAD", HTTP_ACCEPT=accept) == (head, b"")
    assert f"Content-Length: {len(body)}\r\n" in head


def test_the_folder_of_a_key_is_found_for_known_and_unknown_hosts() -> None:
    pages = with_pages(_503="all", foo_503="foo", _404="all", foo_404="foo")
    assert answer("no-node", pages, keys="*.foo.com bar.com", HTTP_ACCEPT=BROWSER)[1] == b"foo"
    assert answer("no-node", pages, keys="*.foo.com bar.com", host="bar.com", HTTP_ACCEPT=BROWSER)[1] == b"all"
    # A key of its own below the wildcard has no folder.
    assert answer("no-node", pages, keys="*.foo.com a.foo.com", HTTP_ACCEPT=BROWSER)[1] == b"all"
    assert answer("no-key", pages, host="X.Foo.com.:81", HTTP_ACCEPT=BROWSER)[1] == b"foo"
    assert answer("no-key", pages, host="foo.com", HTTP_ACCEPT=BROWSER)[1] == b"all"


def test_what_a_client_sends_stays_text_in_every_form() -> None:
    host = '"></p><script>\u00ff\r\n\x1b[0m&'
    pages = with_pages(_404="<p>$key</p>")
    assert answer("no-key", pages, host=host, HTTP_ACCEPT=BROWSER)[1] == (
        "<p>&quot;&gt;&lt;/p&gt;&lt;script&gt;\u00ff???[0m&amp;</p>".encode()
    )
    body = answer("no-key", pages, host=host, HTTP_ACCEPT="application/json")[1]
    assert json.loads(body)["key"] == '"></p><script>\u00ff???[0m&'
    assert not set(b"<>&\x1b\r") & set(body)
    # An id that could break out of the head is in none of them.
    for accept in ("", BROWSER, "application/json"):
        head, body = answer("no-key", pages, HTTP_ACCEPT=accept, HTTP_X_REQUEST_ID="1\r\nX-Evil: 1")
        assert "Evil" not in head + body.decode()


def test_long_hosts_and_texts_are_cut() -> None:
    pages = with_pages(_404="$key $message" * 32)
    size = len(answer("no-key", pages, host="&" * 60_000, text="<" * 60_000, HTTP_ACCEPT=BROWSER)[1])
    assert size < 200_000


def test_vars_that_are_not_to_be_read_again_are_not() -> None:
    context = RelayContext({}, 100, "", None, 0.0, with_pages(_502="<p>"))
    packet = random.Random(1).randbytes(100)
    assert own_answer(context, Refusal("bad-gateway", "a fault"), b"foo.com", packet, 0).endswith(b"\r\n\r\na fault\n")
