"""Coverage-guided: ``PYTHONPATH=tests python tests/fuzz/atheris_main.py TARGET [libFuzzer options]``.

Needs ``pip install atheris`` (Python 3.11 to 3.13).  New inputs go into the first folder named; ``keep.py`` puts
those worth keeping into ``corpus/TARGET/``.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fastroute"]):
    from fuzz.targets import TARGETS


def main(argv: list[str]) -> None:
    """Until something breaks, or as long as the options say."""
    if len(argv) < 2 or argv[1] not in TARGETS:
        raise SystemExit(f"usage: {argv[0]} {'|'.join(TARGETS)} [folders and libFuzzer options]")
    atheris.Setup([argv[0], *argv[2:]], TARGETS[argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
