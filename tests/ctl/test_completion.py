"""What a shell completes ends up on the operator's command line: nothing of it may be more than a plain word."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[[dict[str, Any]], Any]

BIN = Path(sys.executable).parent
PLAIN = ["shop.test", "*.shop.test", "shop.test:8080/a~b/c_d", "[::1]:80", "xn--bcher-kva.test"]
#: What shells and this program would take for more than a word.
TRAPS = ["shop.test/$(touch${IFS}owned)", "shop.test/`x`", "shop.test/a;reboot", "shop.test/a&b", "shop.test/a|b",
         "shop.test/'", 'shop.test/"', "shop.test/!x", "shop.test/(x)", "shop.test/{a,b}", "shop.test/a>b",
         "shop.test/a\\b", "shop.test/a,b", "shop.test/a#b", "shop.test/a?b", "shop.test/\x9b31m",
         "--token-file=/etc/passwd", "~root",
         "#shop.test", "=ls"]  # fmt: skip
BASH = """
eval "$(fastroute-ctl completion bash)"
COMP_WORDS=(fastroute-ctl {verb} "$1"); COMP_CWORD=2
_fastroute_ctl_completion fastroute-ctl "$1" {verb}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def served(serve: Serve) -> dict[str, str]:
    """The environment of a shell, with a router that has all these keys and a controller that has such containers."""
    keys = [{"key": key, "nodes": [{"address": "10.0.0.1:80"}, {"address": "/run/$(x)"}]} for key in PLAIN + TRAPS]
    router = serve({"/v1/status": {"keys": keys}})
    controller = serve({"/v1/containers": {"containers": [{"name": name} for name in ("shop-1", "shop$(x)")]}})
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "FASTROUTE_ROUTER_URL": router.url,
            "FASTROUTE_CONTROLLER_URL": controller.url}  # fmt: skip


def in_bash(serve: Serve, verb: str, begun: str) -> list[str]:
    command = ["bash", "-c", BASH.format(verb=verb), "bash", begun]
    done = subprocess.run(command, env=served(serve), capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("verb", ["status", "describe", "wait"])
def test_bash_is_offered_plain_words_alone(serve: Serve, verb: str) -> None:
    offered = in_bash(serve, verb, "")
    assert set(PLAIN) <= set(offered) <= {*PLAIN, "shop-1"}


def test_nodes_behind_a_key_are_offered_by_the_same_rule(serve: Serve) -> None:
    assert in_bash(serve, "drain", "shop.test@") == ["shop.test@10.0.0.1:80"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_every_shell_gets_the_same_words(serve: Serve, shell: str) -> None:
    """By click's protocol with that shell; the shell itself need not be there."""
    asked = {"COMP_WORDS": "fastroute-ctl status ", "COMP_CWORD": "2", "_FASTROUTE_CTL_COMPLETE": f"{shell}_complete"}
    if shell == "fish":
        asked["COMP_CWORD"] = ""
    done = subprocess.run(
        [str(BIN / "fastroute-ctl")], env=served(serve) | asked, capture_output=True, text=True, timeout=30, check=True
    )
    assert "shop.test" in done.stdout
    assert not [
        trap for trap in TRAPS if trap in done.stdout.splitlines() or f"plain,{trap}" in done.stdout.splitlines()
    ]
    assert "$" not in done.stdout
