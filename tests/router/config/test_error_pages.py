"""Pages: what makes one unusable, how its folder names a key, and the block that relays read."""

from __future__ import annotations

import pytest

from fastroute.router.config.error_pages import (
    MAX_PAGE,
    MAX_PAGES_SIZE,
    MAX_PLACEHOLDERS,
    PageBlock,
    folder_key,
    page_problem,
    read_index,
)
from fastroute.router.protocol.key import KeyProblem


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("foo.com", "foo.com"),
        ("Foo.com", "foo.com"),
        ("%2A.foo.com", "*.foo.com"),
        ("*.foo.com", "*.foo.com"),
        ("foo.com%3A8080", "foo.com:8080"),
        ("foo.com:8080", "foo.com:8080"),
        ("foo.com%2Fapi%2fv1", "foo.com/api/v1"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("b%C3%BCcher.test", "xn--bcher-kva.test"),
    ],
)
def test_a_folder_names_a_key_percent_encoded(folder: str, key: str) -> None:
    assert folder_key(folder) == key


@pytest.mark.parametrize(
    "folder", ["", "a b", "%00", "%2F", "..%2F..", "a%FF", "a\udcff", "x" * 300, "%", "a%2F%2E%2E"]
)
def test_a_folder_that_names_none_is_said(folder: str) -> None:
    with pytest.raises(KeyProblem):
        folder_key(folder)


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (b"", "is empty"),
        (b"x" * MAX_PAGE, ""),
        (b"x" * (MAX_PAGE + 1), "more than 65536 bytes"),
        (b"ok \xe9", "is not UTF-8 (byte 3)"),
        ("ü\0".encode(), ""),
        (b"$key" * MAX_PLACEHOLDERS, ""),
        (b"$key" * MAX_PLACEHOLDERS + b"$status", "more than 64 placeholders"),
    ],
)
def test_a_page_that_cannot_be_sent_is_said(page: bytes, problem: str) -> None:
    assert problem in page_problem(page)
    assert bool(problem) == bool(page_problem(page))


def test_equal_pages_are_there_once_and_all_together_are_bounded() -> None:
    block = PageBlock()
    number = 0
    while not (problem := block.add(f"{number}.test", "503.html", b"%05d" % number + b"x" * (MAX_PAGE - 5))):
        number += 1
    assert number == MAX_PAGES_SIZE // MAX_PAGE
    assert "does not fit" in problem
    assert block.add("again.test", "503.html", b"00000" + b"x" * (MAX_PAGE - 5)) == ""
    data = block.to_bytes()
    head, _, pages = data.partition(b"\n")
    assert len(pages) == MAX_PAGES_SIZE
    index = read_index(head)
    assert index["again.test", "503.html"] == index["0.test", "503.html"] == (0, MAX_PAGE)
    start, size = index["3.test", "503.html"]
    assert pages[start : start + size].startswith(b"00003x")
