"""``examples/article`` as its README runs it, but for the ports: real uWSGI, real nginx, Bottle."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bottle
import pytest
from support.announcing import CTL
from support.load import ask
from support.programs import Program, free_port, wait_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "article"
#: For Debian's uWSGI, whose Python knows nothing of this one's packages.
BOTTLE = {"PYTHONPATH": str(Path(bottle.__file__).parent)}
ROUTER = str(Path(sys.executable).with_name("fastroute-router"))


@dataclass
class Article:
    """The example in a folder of its own, on free ports."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.chmod(0o777)
        for file in EXAMPLE.iterdir():
            text = file.read_text().replace("127.0.0.1:3031", f"127.0.0.1:{self.port}").replace("8080", str(self.http))
            (self.folder / file.name).write_text(text)

    def run(self, *argv: str, env: dict[str, str] | None = None) -> Program:
        """A terminal in that folder."""
        shell = f'cd {self.folder} && exec "$0" "$@"'
        return self.stack.enter_context(Program("sh", "-c", shell, *argv, env=env))

    def router(self, *argv: str) -> Program:
        """The first terminal."""
        env = BOTTLE | {"FASTROUTE_ADMIN": "none", "FASTROUTE_LOG_FORMAT": "text"}
        return self.run(*argv, env=env)

    def nginx(self) -> Program:
        """The last one."""
        return self.run("nginx", "-p", ".", "-c", f"{self.folder}/nginx.conf")

    def ask(self) -> tuple[int, str]:
        """What ``curl -H 'Host: foo.com'`` gets."""
        try:
            answer = ask(self.http, "foo.com")
        except OSError:
            return 0, ""
        return answer.status, answer.text.strip()

    def seen(self, requests: int = 12) -> Counter[tuple[int, str]]:
        """Who answered how often."""
        return Counter(self.ask() for _ in range(requests))


@pytest.fixture
def article(tmp_path: Path) -> object:
    with ExitStack() as stack:
        yield Article(tmp_path, stack)


@pytest.mark.parametrize("router", [(ROUTER, "router.ini"), ("uwsgi", "--ini", "router.ini")], ids=["ours", "uwsgi"])
def test_three_terminals(article: Article, router: tuple[str, ...]) -> None:
    article.router(*router)
    one, _ = (article.run("uwsgi", "--ini", "worker.ini", env=BOTTLE) for _ in range(2))
    article.nginx()
    wait_for(lambda: len({who for status, who in article.seen() if status == 200}) == 2, "two workers share them")
    one.stop(signal.SIGINT)
    left = wait_for(lambda: len(seen := article.seen()) == 1 and seen, "the other one serves alone")
    assert [status for status, _ in left] == [200]  # type: ignore[union-attr]


def test_as_one(article: Article) -> None:
    router = article.router(ROUTER, "single.ini")
    article.nginx()
    wait_for(lambda: article.ask()[0] == 200, "the worker answers")
    router.wait_line("serves foo.com at 127.0.0.1:")
    assert router.stop() == 0


def test_hosts_by_name(article: Article) -> None:
    router = article.router(ROUTER, "router.ini")
    command = ("--key", "foo.com", "--address", "127.*:0", "--", "uwsgi", "--ini", "announced.ini")
    worker = article.run(CTL, "announce", "--router", f"localhost:{article.port}", *command, env=BOTTLE)
    article.nginx()
    wait_for(lambda: article.ask()[0] == 200, "the worker answers")
    assert worker.stop() == 0
    assert "(withdrawn)" in router.output()
