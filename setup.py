"""Only for the compiled build; everything else is in pyproject.toml.

``FASTROUTE_COMPILE=1 pip wheel .`` compiles what carries requests, from the same source, by mypyc (needs a C compiler
and the headers of Python, and fails without).  The image ships it; pure Python is what a plain ``pip install .`` gives
everywhere, and the reference.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

#: Its compiler; the version that the tests of the compiled build ran with, or newer.
MYPY = "mypy>=2.1,<3"
COMPILE = os.environ.get("FASTROUTE_COMPILE", "0") not in ("", "0")


def modules() -> list[str]:
    """The relay, all but its entry, and the part of the language that it speaks at every request."""
    router = Path("src/fastroute/router")
    relay = [path for path in sorted((router / "relay").rglob("*.py")) if path.name not in ("__init__.py", "main.py")]
    return [
        str(path) for path in (*(router / "protocol" / name for name in ("key.py", "latency.py", "wire.py")), *relay)
    ]


def extensions() -> list[object]:
    """What to compile; nothing while pip only asks what the build requires."""
    if not COMPILE:
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        if sys.argv[1:2] == ["egg_info"]:
            return []
        raise
    compiled = list(mypycify(modules(), opt_level="3", debug_level="0"))
    for extension in compiled:
        # Nobody but Python calls into it, at entries that say so themselves: else each call within goes by a table, as
        # somebody might put another function in its place.
        extension.extra_compile_args.append("-fvisibility=hidden")
    return [*compiled]


# pip installs the second for a build in isolation, and only for this one.
setup(ext_modules=extensions(), setup_requires=[MYPY] if COMPILE else [])
