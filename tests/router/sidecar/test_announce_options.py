"""The command line of ``announce``, and what there is to say of a uWSGI command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.sidecar.options import parse
from fastroute.router.sidecar.uwsgi_child import remarks

GOOD = ["--router", "r.internal:3031", "--key", "Foo.COM", "--address", "192.*:8000"]


def test_what_the_contract_shows() -> None:
    settings = parse([*GOOD, "--weight", "2", "--", "uwsgi", "--ini", "worker.ini"], {})
    assert settings.key == ("foo.com",)
    assert settings.command == ("uwsgi", "--ini", "worker.ini")
    assert (settings.weight, settings.probe, settings.protocol) == (2, "tcp", "uwsgi")
    (entry,) = settings.entries()
    assert (entry.key, entry.options.weight, entry.address) == ("foo.com", 2, "")


def test_variables_do_as_well_and_flags_win() -> None:
    environ = {"FASTROUTE_ROUTER": "a:1,b:2", "FASTROUTE_KEY": "x.com,y.com", "FASTROUTE_ADDRESS": ":8000",
               "FASTROUTE_WEIGHT": "3", "FASTROUTE_ROUTER_URL": "http://elsewhere"}  # fmt: skip
    settings = parse(["--weight", "4"], environ)
    assert [str(one) for one in settings.router] == ["a:1", "b:2"]
    assert (settings.key, settings.weight) == (("x.com", "y.com"), 4)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "--key KEY is missing"),
        (["--key", "foo.com"], "--address PATTERN:PORT is missing (or FASTROUTE_ADDRESS)"),
        ([*GOOD, "uwsgi"], "'uwsgi': unexpected"),
        ([*GOOD, "--"], "a command expected behind it"),
        ([*GOOD, "--wieght", "2"], "unknown option; did you mean --weight?"),
        ([*GOOD, "--weight", "0"], "a whole number from 1 to 65535"),
        ([*GOOD, "--key", "a b"], "is no key"),
        (["--key", "a.com", "--address", ":0"], "port 0 stands for a free one, which only a COMMAND can be told"),
        (["--key", "a.com", "--address", "/a.sock", "--", "x", "{port}"], "the address is a socket's path"),
        ([*GOOD, "--router", "fd://3"], "host:port (UDP) or the path"),
        ([*GOOD, "--router", "host:0"], "host:port (UDP) or the path"),
        ([*GOOD, "--probe", "http"], "tcp, none or a path"),
        ([*GOOD, "--sign", "sha1"], "DIGEST:FILE expected"),
        ([*GOOD, "--sign", "sha1:/dev/null"], "no RSA private key"),
        ([*GOOD, "--subscription-secret-file", "/dev/null"], "is empty"),
        ([*GOOD, "--protocol", "https"], "did you mean http?"),
    ],
)
def test_mistakes_are_one_line(argv: Sequence[str], expected: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(argv, {})
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def said(command: Sequence[str], environ: dict[str, str] | None = None) -> str:
    return "; ".join(remarks(command, environ or {}, lambda file: Path(file).read_text()))


def test_uwsgi_without_die_on_term_is_warned_of(tmp_path: Path) -> None:
    ini = tmp_path / "worker.ini"
    ini.write_text("[uwsgi]\nsocket = :8000\nmaster = true\n")
    assert "add --die-on-term" in said(["uwsgi", "--socket", ":8000"])
    assert "add --die-on-term" in said(["/usr/bin/uwsgi", "--ini", str(ini)])
    assert said(["uwsgi", "--socket", ":8000", "--die-on-term"]) == ""
    assert said(["uwsgi", "--socket", ":8000"], {"UWSGI_DIE_ON_TERM": "1"}) == ""
    ini.write_text("[uwsgi]\nsocket = :8000\ndie-on-term = true\n")
    assert said(["uwsgi", str(ini)]) == said(["uwsgi", f"--ini={ini}"]) == ""
    assert said(["gunicorn", "app"]) == ""
    assert "would get the worker twice" in said(["uwsgi", "--die-on-term", "--subscribe2", "server=a,key=b"])
