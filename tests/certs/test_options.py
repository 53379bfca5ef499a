"""The options: flags over variables over FILE; every mistake is one line that says where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastroute.certs.options import parse
from fastroute.certs.settings import LETS_ENCRYPT
from fastroute.router.config.configuration import ConfigurationError


@pytest.fixture
def base(tmp_path: Path) -> list[str]:
    return ["--certificates", str(tmp_path)]


def test_the_defaults_are_those_of_the_contract(base: list[str]) -> None:
    settings = parse(base, {})
    assert settings.router_url == ("http://127.0.0.1:3033",)
    assert settings.controller_url == ("http://127.0.0.1:3034",)
    assert [str(address) for address in settings.router] == ["127.0.0.1:3031"]
    assert (str(settings.challenge), str(settings.admin)) == (":8089", "127.0.0.1:3037")
    assert settings.directory == LETS_ENCRYPT
    assert (settings.agree_tos, settings.keys, settings.dns_hook, settings.email) == (False, "all", None, None)


def test_flags_win_over_variables_and_those_over_the_file(base: list[str], tmp_path: Path) -> None:
    file = tmp_path / "fastroute.yaml"
    file.write_text("router: {}\ncerts:\n  email: file@x.org\n  keys: labelled\n  agree-tos: yes\n")
    environ = {"FASTROUTE_EMAIL": "variable@x.org", "FASTROUTE_DNS_HOOK": "", "FASTROUTE_KEYS": "all"}
    settings = parse([str(file), *base, "--email", "flag@x.org"], environ)
    assert (settings.email, settings.keys, settings.agree_tos) == ("flag@x.org", "all", True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--emial", "x"], "'--emial': unknown option; did you mean --email?"),
        (["--email", "nobody"], "--email: 'nobody': an e-mail address expected"),
        (["--directory", "letsencrypt.org"], "the URL of an ACME directory expected"),
        (["--directory", "https://x y/"], "the URL of an ACME directory expected"),
        (["--router-url", "ftp://x"], "http://HOST:PORT or http+unix:///PATH expected"),
        (["--router-url", "http+unix://relative"], "an absolute path expected"),
        (["--challenge", "somewhere"], "expected"),
        (["--challenge", ":0"], "host:port"),
        (["--keys", "some"], "one of all, labelled expected"),
        (["--eab-kid", "k"], "--eab-kid: --eab-hmac-file is missing"),
        (["--eab-kid", "k", "--eab-hmac-file", "/nowhere"], "the key can't be read: No such file"),
        (["--ca-file", "/etc/hostname"], "a file with certificates in PEM expected"),
        (["--dns-hook", "/no/such/program x"], "whose program is there"),
        (["--dns-hook", "'"], "a command expected"),
        (["--router-url", "none", "--controller-url", "none"], "a --router-url or a --controller-url expected"),
        (["--self-check-address", "/run/x"], "host:port or [v6]:port expected"),
        (["--certificates", "/etc/hostname"], "a directory that can be written expected"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_was_expected(base: list[str], words: list[str], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse([*base, *words], {})
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_for_external_binding_is_read_in_both_alphabets_and_never_shown(base: list[str], tmp_path: Path) -> None:
    (tmp_path / "good").write_text("ab+/cd==\n")
    (tmp_path / "bad").write_text("secret words\n")
    settings = parse([*base, "--eab-kid", "k", "--eab-hmac-file", str(tmp_path / "good")], {})
    assert settings.eab_hmac_file == str(tmp_path / "good")
    with pytest.raises(ConfigurationError) as caught:
        parse([*base, "--eab-kid", "k", "--eab-hmac-file", str(tmp_path / "bad")], {})
    assert "secret" not in str(caught.value)


def test_without_the_extra_one_line_says_how_to_install_it(base: list[str]) -> None:
    code = "import sys; sys.modules['acme'] = None; import fastroute.certs.main as m; sys.exit(m.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *base, "--agree-tos"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "fastroute-certs: the Python package acme is missing: pip install 'fastroute[certs]'\n"


def test_a_mistake_in_the_file_says_the_line(base: list[str], tmp_path: Path) -> None:
    file = tmp_path / "fastroute.yaml"
    file.write_text("certs:\n  emails: x\n")
    with pytest.raises(ConfigurationError, match=r"fastroute.yaml:2: 'emails': unknown option; did you mean email\?"):
        parse([str(file), *base], {})
