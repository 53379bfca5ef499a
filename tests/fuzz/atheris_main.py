"""Coverage-guided fuzzing of one target: ``python tests/fuzz/atheris_main.py TARGET [libFuzzer options]``.

Needs ``pip install atheris`` (Python 3.11 to 3.13).  New inputs go into ``corpus/TARGET/``; before keeping them, make
them few: ``python tests/fuzz/atheris_main.py TARGET -merge=1 NEW_FOLDER corpus/TARGET``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]

with atheris.instrument_imports(include=["fastroute"]):
    from fuzz.targets import TARGETS


def main(argv: list[str]) -> None:
    """Until something breaks, or as long as the options say."""
    if len(argv) < 2 or argv[1] not in TARGETS:
        raise SystemExit(f"usage: {argv[0]} {'|'.join(TARGETS)} [folders and libFuzzer options]")
    options = argv[2:]
    if not any(not option.startswith("-") for option in options):
        folder = HERE / "corpus" / argv[1]
        folder.mkdir(parents=True, exist_ok=True)
        options.append(str(folder))
    atheris.Setup([argv[0], *options], TARGETS[argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
