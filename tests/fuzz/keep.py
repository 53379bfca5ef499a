"""Puts the few inputs worth keeping into the corpus: ``PYTHONPATH=tests python tests/fuzz/keep.py TARGET FOLDER``.

Shortest first, an input is kept when it makes our code take a turn (from one line to another) that none before it took.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.targets import TARGETS

HERE = Path(__file__).parent

Turn = tuple[str, int, int]
OURS = (str(HERE.parents[1] / "router"), str(HERE.parents[1] / "src"))


def turns(target: str, data: bytes) -> set[Turn]:
    """Every step from one line to another in our code."""
    seen: set[Turn] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(OURS):
            return None
        before = 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            seen.add((file, before, frame.f_lineno))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        TARGETS[target](data)
    finally:
        sys.settrace(None)
    return seen


def main(target: str, folder: str) -> None:
    """Keep what the corpus has, add what is new."""
    corpus = HERE / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    known: set[Turn] = set()
    for file in corpus.iterdir():
        known |= turns(target, file.read_bytes())
    for data in sorted({file.read_bytes() for file in Path(folder).iterdir()}, key=len):
        new = turns(target, data) - known
        if new:
            known |= new
            (corpus / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)
    print(f"{target}: {len(list(corpus.iterdir()))} inputs, {len(known)} turns")


if __name__ == "__main__":
    main(*sys.argv[1:])
