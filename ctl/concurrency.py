"""How many requests a worker runs at once, as far as its command says.  Pure.

What a configuration file or the application says is not seen here, so the answer is a range.  Servers that await
(uvicorn, gevent) take as many as come: of them only the number of processes is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

_WORD = re.compile(r"""[^\s"']+""")
_FILES = re.compile(r"--(?:ini|yaml|xml|json|config|env-file)\b|-c\b|\.(?:ini|ya?ml|xml|json)\b|python:|file:")
#: gunicorn's classes that run one request in a thread each.
_THREADED = ("sync", "gthread")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What one container runs at once."""

    #: Requests that certainly run at once; with fewer, some of it idles.
    at_least: int
    #: Requests that run at once at most; None: that can't be seen, or there is no limit.
    at_most: int | None
    #: The options that say so, as they were given.
    options: str
    #: Requests from which on the server itself answers 503; None: it does not.
    refuses_above: int | None = None


@dataclass(frozen=True, slots=True)
class _Command:
    """The words behind a server's name."""

    words: Sequence[str]

    def value(self, *names: str) -> str | None:
        """What the last of the options ``names`` was given: ``--name VALUE``, ``--name=VALUE``, ``-nVALUE``."""
        last = None
        for number, word in enumerate(self.words):
            name, equals, value = word.partition("=")
            if name in names:
                last = value if equals else "".join(self.words[number + 1 : number + 2])
            elif len(word) > 2 and word[:2] in names and word[2:].isdecimal():
                last = word[2:]
        return last


def concurrency(command: str, environ: Mapping[str, str]) -> Concurrency | None:
    """That of the server that ``command`` starts in ``environ``; None where nothing can be said."""
    words = _WORD.findall(command)
    for number, word in enumerate(words):
        if (reader := _SERVERS.get(PurePath(word).name)) is not None:
            return reader(words[number + 1 :], environ)
    return None


def _uwsgi(words: Sequence[str], environ: Mapping[str, str]) -> Concurrency | None:
    """uWSGI runs processes with threads, or with cores of an asynchronous loop."""
    command = _Command(words)
    processes = command.value("-p", "--processes", "--workers") or environ.get("UWSGI_PROCESSES")
    threads = command.value("--threads") or environ.get("UWSGI_THREADS")
    cores = command.value("--gevent", "--async", "--asyncio")
    return _product({"--processes": processes, "--threads": threads, "--gevent": cores}, words)


def _gunicorn(words: Sequence[str], environ: Mapping[str, str]) -> Concurrency | None:
    words = [*_WORD.findall(environ.get("GUNICORN_CMD_ARGS", "")), *words]
    command = _Command(words)
    workers = command.value("-w", "--workers") or environ.get("WEB_CONCURRENCY")
    if (command.value("-k", "--worker-class") or "sync") not in _THREADED:
        return _processes(workers)
    return _product({"--workers": workers, "--threads": command.value("--threads")}, words)


def _uvicorn(words: Sequence[str], environ: Mapping[str, str]) -> Concurrency | None:
    command = _Command(words)
    workers = command.value("--workers") or environ.get("WEB_CONCURRENCY")
    limit = command.value("--limit-concurrency")
    if limit is None or not limit.isdecimal():
        return _processes(workers)
    processes = int(workers) if workers and workers.isdecimal() else 1
    options = _written({"--workers": workers, "--limit-concurrency": limit})
    return Concurrency(processes, None, options, processes * int(limit))


def _hypercorn(words: Sequence[str], environ: Mapping[str, str]) -> Concurrency | None:
    return _processes(_Command(words).value("-w", "--workers"))


def _waitress(words: Sequence[str], environ: Mapping[str, str]) -> Concurrency | None:
    return _product({"--threads": _Command(words).value("--threads")}, words)


_SERVERS = {"uwsgi": _uwsgi, "uwsgi-core": _uwsgi, "pyuwsgi": _uwsgi, "gunicorn": _gunicorn, "uvicorn": _uvicorn,
            "hypercorn": _hypercorn, "waitress-serve": _waitress}  # fmt: skip


def _product(factors: Mapping[str, str | None], words: Sequence[str]) -> Concurrency | None:
    """The product of all ``factors`` that are given; those that are not may be in a file."""
    given = {name: text for name, text in factors.items() if text}
    numbers = [int(text) for text in given.values() if text.isdecimal() and 0 < int(text) < 100_000]
    if not numbers:
        return None
    product = 1
    for number in numbers:
        product *= number
    seen = len(numbers) == len(given) and not any(_FILES.search(word) for word in words)
    return Concurrency(product, product if seen else None, _written(given))


def _processes(workers: str | None) -> Concurrency | None:
    if not workers or not workers.isdecimal() or not int(workers):
        return None
    return Concurrency(int(workers), None, _written({"--workers": workers}))


def _written(given: Mapping[str, str | None]) -> str:
    return " ".join(f"{name} {text}" for name, text in given.items() if text)
