"""Which fastroute programs run on this machine (or in this container).  An edge: reads ``/proc``.

Standard library only: the health check asks every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PROGRAMS = ("router", "controller", "certs", "page")


@dataclass(frozen=True, slots=True)
class Running:
    """One process: ``arguments`` stand behind the program's name; ``environ`` is empty if it is not ours to read."""

    program: str
    arguments: list[str]
    environ: dict[str, str]


def running() -> Iterator[Running]:
    """The fastroute programs that run here; that of PID 1 first."""
    for pid in sorted(int(path.name) for path in PROC.iterdir() if path.name.isdecimal()):
        words = _words(pid, "cmdline")
        for at, word in enumerate(words[:6]):
            if program := _program(word):
                pairs = (text.partition("=") for text in _words(pid, "environ"))
                yield Running(program, words[at + 1 :], {name: value for name, _, value in pairs})


def _program(word: str) -> str:
    for program in PROGRAMS:
        if word.endswith((f"/fastroute-{program}", f"fastroute.{program}.main")) or word == f"fastroute-{program}":
            return program
    return ""


def _words(pid: int, name: str) -> list[str]:
    try:
        words = (PROC / str(pid) / name).read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return words[:-1] if words and not words[-1] else words
