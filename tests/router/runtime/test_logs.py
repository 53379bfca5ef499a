"""Log lines: what operators grep for, what machines read, and what a hostile name can't do to either."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from fastroute.router.runtime.logs import KindLimit, RateLimit, get_logger, set_up, timestamp


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.raiseExceptions)
    yield
    root.handlers[:], root.level, logging.raiseExceptions = before


def test_text_shows_the_message_as_it_is() -> None:
    stream = io.StringIO()
    set_up("text", "info", stream)
    get_logger("fastroute.router").info("foo.com => new node: %s", "127.0.0.1:58743", extra={"key": "foo.com"})
    when, level, message = stream.getvalue().split(" ", 2)
    assert (level, message) == ("info", "foo.com => new node: 127.0.0.1:58743\n")
    assert when.endswith("Z")


def test_json_is_one_object_a_line_with_the_fields_beside_the_message() -> None:
    stream = io.StringIO()
    set_up("json", "info", stream)
    get_logger("fastroute.router").warning("a\nb", extra={"key": "foo.com", "level": "no", "odd": object})
    (line,) = stream.getvalue().splitlines()
    read = json.loads(line)
    assert (read["msg"], read["level"], read["key"], read["logger"]) == (
        "a\nb",
        "warning",
        "foo.com",
        "fastroute.router",
    )
    assert list(read)[:3] == ["ts", "level", "msg"]


@pytest.mark.parametrize(("stream", "as_text"), [(Terminal(), True), (io.StringIO(), False)])
def test_people_at_a_terminal_get_text_and_machines_json(stream: io.StringIO, as_text: bool) -> None:
    set_up(None, "info", stream)
    get_logger("x").info("hello")
    assert stream.getvalue().startswith("{") != as_text


def test_what_is_below_the_level_is_not_said() -> None:
    stream = io.StringIO()
    set_up("text", "warning", stream)
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    assert stream.getvalue().endswith("warning loud\n")
    assert "quiet" not in stream.getvalue()


def test_no_name_from_the_network_can_forge_a_line_or_steer_a_terminal() -> None:
    stream = io.StringIO()
    set_up("text", "info", stream)
    get_logger("x").info("key %s", "a\nfoo.com => new node: evil\x1b[2J\r\u2028")
    assert stream.getvalue().count("\n") == 1
    assert r"a\nfoo.com => new node: evil\x1b[2J\r\u2028" in stream.getvalue()


def test_an_exception_stays_on_its_line() -> None:
    for kind in ("text", "json"):
        stream = io.StringIO()
        set_up(kind, "info", stream)
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            get_logger("x").exception("failed")
        assert stream.getvalue().count("\n") == 1
        assert "RuntimeError: boom" in stream.getvalue()


def test_a_log_that_cannot_be_written_disturbs_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    set_up("text", "info", stream)
    stream.close()
    get_logger("x").info("lost")
    assert capsys.readouterr().err == ""


def test_setting_up_again_does_not_say_everything_twice() -> None:
    stream = io.StringIO()
    set_up("text", "info", stream)
    set_up("text", "info", stream)
    get_logger("x").info("once")
    assert stream.getvalue().count("once") == 1


def test_time_stamps_are_utc_with_milliseconds() -> None:
    assert timestamp(0.9999) == "1970-01-01T00:00:00.999Z"


def test_a_repeated_warning_is_said_once_per_interval_with_the_number_held_back() -> None:
    limit = RateLimit(10)
    assert [limit.allow("a", now) for now in (100, 101, 109.9, 110, 111, 130)] == [0, None, None, 2, None, 1]
    assert limit.allow("b", 101) == 0


def test_a_flood_of_different_warnings_costs_bounded_memory() -> None:
    limit = RateLimit(10, size=3)
    assert all(limit.allow(what, 0) == 0 for what in range(1000))
    assert len(limit._logged) == 3
    assert limit.allow(999, 1) is None


def test_a_flood_of_many_senders_is_a_few_lines_of_each_kind_with_the_number_held_back() -> None:
    limit = KindLimit(60, lines=3)
    said = [limit.allow("junk", f"10.0.{at >> 8}.{at & 255}", at / 100) for at in range(2000)]
    assert said == [0, 0, 0] + [None] * 1997
    assert limit.last("junk")
    assert limit.allow("other", "10.0.0.1", 20) == 0, "one kind's flood hides no other kind"
    assert not limit.last("other")
    assert limit.allow("junk", "10.9.9.9", 60) == 1997


def test_one_sender_does_not_use_up_the_lines_of_its_kind() -> None:
    limit = KindLimit(60, lines=3)
    assert [limit.allow("junk", "a", now) for now in (0, 1, 2, 3, 4)] == [0, None, None, None, None]
    assert limit.allow("junk", "b", 5) == 4
