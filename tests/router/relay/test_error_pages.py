"""The page of an answer: which one it is, and that nothing of a request is ever more than text in it."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.config.error_pages import PageBlock, read_index
from fastroute.router.relay.error_pages import NO_PAGES, PAGES, ErrorPages, filled
from fastroute.router.relay.replies import STATUS

VALUES = {"key": "foo.com", "message": "no worker", "request_id": "r1", "status": "503"}


def pages(*names: str) -> ErrorPages:
    """Pages whose text is their own name, ``KEY/FILE`` or ``FILE``, read from a block as a relay reads them."""
    block = PageBlock()
    for name in names:
        key, _, file = name.rpartition("/")
        assert block.add(key, file, name.encode()) == ""
    head, _, _ = block.to_bytes().partition(b"\n")
    return ErrorPages(read_index(head), memoryview(block.to_bytes()), len(head) + 1)


@pytest.mark.parametrize(
    ("there", "kind", "keys", "page"),
    [
        (["404.html"], "no-key", [], "404.html"),
        (["503.html"], "no-node", ["foo.com"], "503.html"),
        (["503.html"], "queue-full", ["foo.com"], "503.html"),
        (["503.html"], "maintenance", ["foo.com"], "503.html"),
        (["503.html", "maintenance.html"], "maintenance", ["foo.com"], "maintenance.html"),
        (["503.html", "maintenance.html"], "no-node", ["foo.com"], "503.html"),
        (["502.html", "504.html"], "bad-gateway", ["foo.com"], "502.html"),
        (["502.html", "504.html"], "timeout", ["foo.com"], "504.html"),
        (["503.html", "foo.com/503.html"], "no-node", ["foo.com"], "foo.com/503.html"),
        (["503.html", "foo.com/503.html"], "no-node", ["bar.com"], "503.html"),
        (["maintenance.html", "foo.com/503.html"], "maintenance", ["foo.com"], "foo.com/503.html"),
        (["foo.com/api/503.html", "foo.com/503.html"], "no-node", ["foo.com/api"], "foo.com/api/503.html"),
        (["*.foo.com/404.html"], "no-key", ["a.foo.com", "*.foo.com", "*.com"], "*.foo.com/404.html"),
        (["foo.com/503.html"], "bad-gateway", ["foo.com"], ""),
        (["404.html", "502.html", "503.html", "504.html", "maintenance.html"], "bad-request", ["foo.com"], ""),
    ],
)
def test_the_page_of_the_key_goes_first_and_then_that_of_all(
    there: list[str], kind: str, keys: list[str], page: str
) -> None:
    assert pages(*there).find(kind, keys) == page.encode()


def test_without_pages_there_is_none() -> None:
    assert {NO_PAGES.find(kind, ["foo.com"]) for kind in STATUS} == {b""}
    assert set(PAGES) == set(STATUS) - {"bad-request", "too-large"}


def test_what_a_request_says_is_only_text_in_a_page() -> None:
    hostile = {
        "key": "<script>alert(1)</script>$message",
        "message": '"><img src=x onerror=alert(1)>$key',
        "request_id": "' autofocus onfocus='alert(1)",
        "status": "503$status\\1",
    }
    page = b"<p title=\"$key\">$message</p><b title='$request_id'>$status $status</b>"
    assert Tags.of(filled(page, hostile)) == [
        ("p", [("title", hostile["key"])]),
        hostile["message"],
        ("b", [("title", hostile["request_id"])]),
        "503$status\\1 503$status\\1",
    ]


@given(st.text())
def test_any_value_is_read_back_as_it_was(value: str) -> None:
    page = filled(b'<a title="$key">.$message</a>', VALUES | {"key": value, "message": value})
    as_sent = value.encode("utf-8", "replace").decode()
    assert page.decode() == f'<a title="{html.escape(as_sent)}">.{html.escape(as_sent)}</a>'


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("$key.", "foo.com."),
        ("$keyboard $request_ids $status_", "$keyboard $request_ids $status_"),
        ("$$key$", "$foo.com$"),
        ("$('#a') ${key} $Key $other", "$('#a') ${key} $Key $other"),
        ("$key$message", "foo.comno worker"),
        ("ü$status", "ü503"),
    ],
)
def test_only_the_four_names_are_replaced(page: str, expected: str) -> None:
    assert filled(page.encode(), VALUES).decode() == expected


class Tags(HTMLParser):
    """Elements and texts, as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    @classmethod
    def of(cls, page: bytes) -> list[object]:
        parser = cls()
        parser.feed(page.decode())
        parser.close()
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.found.append(data)
