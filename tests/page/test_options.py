"""Options of fastroute-page: what they mean, and one clear line for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastroute.page.options import parse
from fastroute.router.config.configuration import ConfigurationError


def test_defaults_flags_variables_and_file(tmp_path: Path) -> None:
    settings = parse([], {})
    assert [str(address) for address in settings.listen] == ["127.0.0.1:3036"]
    assert (settings.router_url, settings.controller_url) == (("http://127.0.0.1:3033",), ("http://127.0.0.1:3034",))
    file = tmp_path / "page.yaml"
    file.write_text("page: {controller-url: none, host: [Status.Example.com], router-url: ['http://a:1']}\n")
    environment = {"FASTROUTE_ROUTER_URL": "http+unix:///run/a.sock,http://b:2/", "FASTROUTE_LISTEN": ":8081"}
    settings = parse([str(file)], environment)
    assert settings.router_url == ("http+unix:///run/a.sock", "http://b:2")
    assert (settings.controller_url, settings.host) == ((), ("status.example.com",))
    assert parse(["--router-url", "http://c:3"], environment).router_url == ("http://c:3",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--router-url", "none", "--controller-url", "none"], "a --router-url or a --controller-url expected"),
        (["--router-url", "127.0.0.1:3033"], "http://HOST:PORT or http+unix:///PATH expected"),
        (["--router-url", "http+unix://run/a.sock"], "an absolute path expected"),
        (["--host", "bad host"], "the name of a host expected"),
        (["--host", "a/b"], "the name of a host expected"),
        (["--listen", "nonsense"], "--listen"),
        (["--router-ulr", "http://a:1"], "did you mean --router-url?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as error:
        parse(words, {})
    assert "\n" not in str(error.value)
