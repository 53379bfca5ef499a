"""The DNS hook: called with words and no shell, cleared whatever happens, bounded in time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from fastroute.certs.challenge.dns_hook import DnsHook, HookFailed

NAME, VALUE = "_acme-challenge.example.com", "x; touch /tmp/pwned; $(id)"


def hook(tmp_path: Path, code: str, timeout: float = 20.0) -> DnsHook:
    path = tmp_path / "hook.py"
    path.write_text(
        f"import sys, time\nopen({str(tmp_path / 'calls')!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n{code}"
    )
    return DnsHook([sys.executable, str(path)], timeout)


def calls(tmp_path: Path) -> list[str]:
    return [line.partition("'")[2].partition("'")[0] for line in (tmp_path / "calls").read_text().splitlines()]


def test_set_and_clear_with_the_words_as_they_are(tmp_path: Path) -> None:
    with hook(tmp_path, "").record(NAME, VALUE):
        assert (tmp_path / "calls").read_text() == f"{['set', NAME, VALUE]!r}\n"
    assert calls(tmp_path) == ["set", "clear"]


def test_what_was_set_is_cleared_though_the_order_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hook(tmp_path, "").record(NAME, VALUE):
        raise KeyError
    assert calls(tmp_path) == ["set", "clear"]


def test_a_hook_that_fails_says_why(tmp_path: Path) -> None:
    failing = hook(tmp_path, "print('no such zone'); sys.exit(3)")
    text = r"set _acme-challenge.example.com ends with 3: no such zone"
    with pytest.raises(HookFailed, match=text), failing.record(NAME, VALUE):
        pytest.fail("it was not set")
    assert calls(tmp_path) == ["set", "clear"]


def test_a_hook_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    code = "import subprocess; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    hanging = hook(tmp_path, code, 0.5)
    with pytest.raises(HookFailed, match=r"does not end within 0.5 s"), hanging.record(NAME, VALUE):
        pytest.fail("it was not set")
    assert time.monotonic() - began < 20


def test_a_program_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="No such file"), DnsHook([str(tmp_path / "none")]).record(NAME, VALUE):
        pass
