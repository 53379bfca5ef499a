"""The example error pages can be used as they are, and load nothing from anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastroute.router.config.error_pages import PAGE_NAMES, PLACEHOLDER, page_problem

PAGES = Path(__file__).resolve().parent.parent / "examples/error-pages"


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_an_example_page_is_whole_in_itself(name: str) -> None:
    page = (PAGES / name).read_bytes()
    assert page_problem(page) == ""
    assert not re.search(rb"https?://|//\w|\bsrc=|\bhref=|@import|url\(", page)
    assert b"prefers-color-scheme: dark" in page
    assert {b"request_id", b"status"} < set(PLACEHOLDER.findall(page))
    # A placeholder stands between tags only, where escaping is enough.
    assert not PLACEHOLDER.search(re.sub(rb"<style>.*</style>", b"", page, flags=re.DOTALL).split(b"<main>")[0])
    assert not re.search(rb"<[^>]*\$(key|message|request_id|status)", page)
