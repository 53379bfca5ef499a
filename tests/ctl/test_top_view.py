"""``top`` without a terminal: sums over routers, order, filter, what keys do, and frames that always fit."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fastroute.ctl.top_rows import SORTS, added_up, arranged, totals
from fastroute.ctl.top_view import TopNumbers, TopView, pressed


def node(address: str, rate: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"address": address, "state": "ready", "container": None, "rate": rate, "error_rate": 0.0, "p50_ms": 1.5,
            "p95_ms": 20.0, "in_flight": 1, "statuses": {"2xx": 3}, **more}  # fmt: skip


def key(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"key": name, "ready": len(nodes), "total": len(nodes), "state": "serving", "waiting": 0,
            "rate": sum(each["rate"] for each in nodes), "error_rate": 0.0, "p50_ms": 1.5, "p95_ms": 20.0,
            "statuses": {"2xx": 3, "5xx": 1}, "nodes": list(nodes), **more}  # fmt: skip


def numbers(*keys: dict[str, Any], **more: Any) -> TopNumbers:
    return TopNumbers(added_up([{"keys": keys}]), routers=1, **more)


def frame(view: TopView, of: TopNumbers, columns: int = 80, lines: int = 24) -> list[str]:
    return view.frame(of, columns, lines, "12:00:00", colour=False)


def test_routers_are_added_up_and_the_slowest_of_them_counts() -> None:
    one = {"keys": [key("a.com", node("1:1", 5.5), waiting=2), key("b.com")]}
    other = {"keys": [key("a.com", node("1:1", 4.0, p95_ms=90.0, state="ejected"), node("2:2", 1.0, p50_ms=None))]}
    a, b = added_up([one, other])
    assert (a["key"], a["rate"], a["waiting"], a["statuses"]) == ("a.com", 10.5, 2, {"2xx": 6, "5xx": 2})
    assert [(each["address"], each["rate"], each["p95_ms"], each["state"]) for each in a["nodes"]] == [
        ("1:1", 9.5, 90.0, "ejected"), ("2:2", 1.0, 20.0, "ready"),
    ]  # fmt: skip
    assert (a["ready"], a["total"], b["nodes"]) == (1, 2, [])
    assert totals([a, b]) == {"rate": 10.5, "error_rate": 0.0, "waiting": 2, "in_flight": 3}


def test_each_order_has_the_worst_first_and_names_from_a_to_z() -> None:
    keys = [
        key("a.com", rate=1.0, error_rate=3.0), key("b.com", rate=2.0, p95_ms=None), key("c.com", rate=3.0, waiting=9),
        key("d.com", rate=3.0, p95_ms=500.0),
    ]  # fmt: skip
    rows = added_up([{"keys": reversed(keys)}])
    order = {by: "".join(row["key"][0] for row in arranged(rows, by)) for by in SORTS}
    assert order == {"rate": "cdba", "errors": "abcd", "p95": "dacb", "waiting": "cabd", "name": "abcd"}


def test_keys_choose_the_order_filter_freeze_and_end() -> None:
    view, of = TopView(), numbers(key("a.com", node("10.0.0.1:80")), key("b.com", node("10.0.0.2:80", 5.0)))
    assert [line.split()[0] for line in frame(view, of)[2:6]] == ["b.com", "10.0.0.2:80", "a.com", "10.0.0.1:80"]
    for each in pressed("n"):
        view.press(each)
    assert [line.split()[0] for line in frame(view, of)[2:6]] == ["a.com", "10.0.0.1:80", "b.com", "10.0.0.2:80"]
    for each in pressed("t/b.x\x7f"):
        view.press(each)
    assert "b.com" in frame(view, of)[2]
    assert frame(view, of)[-1] == "filter: b._"
    for each in pressed("\rf"):
        view.press(each)
    assert "filter: b. (Esc ends it)" in frame(view, of)[-1]
    assert "FROZEN" in frame(view, of)[0]
    for each in pressed("\x1b"):
        view.press(each)
    assert [line.split()[0] for line in frame(view, of)[2:4]] == ["a.com", "b.com"]
    assert not view.over
    view.press("q")
    assert view.over


def test_a_filter_finds_nodes_by_address_and_by_the_name_of_their_container() -> None:
    of = numbers(key("a.com", node("10.0.0.1:80", container="4f5a"), node("10.0.0.2:80")), names={"4f5a": "web-1"})
    for text in ("0.1:", "web-1"):
        lines = frame(TopView(text=text), of)
        assert "a.com" in lines[2]
        assert "10.0.0.1:80 web-1" in lines[3]
        assert "10.0.0.2" not in "".join(lines)
    assert "no key has this" in frame(TopView(text="zzz"), of)[2]


def test_what_does_not_fit_is_scrolled_to_and_never_beyond_the_end() -> None:
    view, of = TopView(sort="name", nodes=False), numbers(*(key(f"k{n:02}.com") for n in range(30)))
    assert frame(view, of, lines=13)[-1].startswith("1-10/30  ")
    for keys, first in (("\x1b[B", 1), ("\x1b[6~", 11), ("\x1b[F", 20), ("\x1b[A", 19), ("\x1b[H", 0), ("\x1b[5~", 0)):
        for each in pressed(keys):
            view.press(each)
        assert frame(view, of, lines=13)[2].startswith(f"k{first:02}.com")


def test_keys_that_nobody_means_change_nothing() -> None:
    view = TopView()
    for each in pressed("\x1b[24~\x1bOPxyz\x00ü"):
        view.press(each)
    assert view == TopView()


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(st.lists(NAMES, max_size=20, unique=True), st.integers(20, 200), st.integers(3, 40), st.lists(NAMES, max_size=3))
def test_a_frame_fits_the_screen_whatever_names_there_are(names, columns, lines, troubles) -> None:
    of = numbers(*(key(name, node(name, 123456.0), state=name) for name in names), troubles=troubles)
    drawn = frame(TopView(text=""), of, columns, lines)
    assert len(drawn) <= lines
    assert all(cell_len(line) <= columns and line.isprintable() for line in drawn)


def test_on_80_columns_all_numbers_are_there() -> None:
    of = numbers(key("a-name-that-is-far-too-long.example.com", node("10.0.0.1:80", 99999.0, error_rate=1234.5)))
    lines = frame(TopView(), of)
    assert lines[1].split() == [
        "KEY",
        "/",
        "NODE",
        "*RATE/S",
        "5XX/S",
        "P50",
        "MS",
        "P95",
        "MS",
        "RUN",
        "WAIT",
        "STATE",
    ]
    assert lines[2].split()[1:] == ["99999", "1.5", "20.0", "1", "1/1"]
    assert lines[3].split() == ["10.0.0.1:80", "99999", "1234", "1.5", "20.0", "1", "ready"]
