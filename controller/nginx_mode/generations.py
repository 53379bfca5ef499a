"""The generated files on disk: an edge.

``DIR/generations/HASH/`` has one configuration, complete and never changed in what it means; ``DIR/fastroute.conf``
is a link to the one that nginx is to use.  A generation is written aside and renamed, then the link is: whoever is
killed at any instant leaves the one before or the one after.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from fastroute.controller.nginx.local import ENTRY, GENERATIONS
from fastroute.controller.nginx_mode.nginx_config import GENERATION, Rendered, digest_of

_DIRECTORY, _FILE = 0o750, 0o640


class Generations:
    """The generations below ``directory``."""

    def __init__(self, directory: str) -> None:
        self._top = Path(directory).absolute()
        self._home = self._top / GENERATIONS
        self._written: Rendered | None = None

    def current(self) -> Rendered | None:
        """What nginx is to use, if it is whole: its hash is that of its name."""
        try:
            target = os.readlink(self._top / ENTRY)
            name = Path(target).parent.name
            home = self._home / name
            files = {
                path.relative_to(home).as_posix(): path.read_text("utf-8", "surrogateescape").replace(
                    str(home), GENERATION
                )
                for path in sorted(home.rglob("*"))
                if path.is_file() and not path.name.startswith(".")
            }
        except OSError:
            return None
        return Rendered(files, name, {}, {}, ()) if digest_of(files, name) == name else None

    def write(self, rendered: Rendered) -> None:
        """Put ``rendered`` beside the others; ``OSError``."""
        if rendered is self._written:
            return
        self._written = None
        home = self._home / rendered.hash
        texts = rendered.installed(str(home))
        if home.is_dir():
            self._refresh(home, texts)
        else:
            self._home.mkdir(_DIRECTORY, parents=True, exist_ok=True)
            new = self._home / f".{rendered.hash}.{os.getpid()}"
            shutil.rmtree(new, ignore_errors=True)
            for name, text in texts.items():
                _write(new / name, text)
            os.rename(new, home)
        self._written = rendered

    def swap(self, rendered: Rendered) -> None:
        """Let nginx find ``rendered`` from now on; ``OSError``."""
        self.write(rendered)
        self._written = None
        new = self._top / f".{ENTRY}.{os.getpid()}"
        with suppress(FileNotFoundError):
            new.unlink()
        new.symlink_to(f"{GENERATIONS}/{rendered.hash}/{ENTRY}")
        os.rename(new, self._top / ENTRY)

    def clean(self, keep: set[str]) -> None:
        """Remove all but the hashes in ``keep``, and what a killed controller left half-written."""
        with suppress(OSError):
            keep = keep | {Path(os.readlink(self._top / ENTRY)).parent.name}
        with suppress(OSError):
            for path in self._home.iterdir():
                if path.name not in keep:
                    shutil.rmtree(path, ignore_errors=True)
            for path in self._top.glob(f".{ENTRY}.*"):
                path.unlink(missing_ok=True)

    def _refresh(self, home: Path, texts: dict[str, str]) -> None:
        """The same meaning in other words (comments), or damaged: file by file."""
        for path in [path for path in home.rglob("*") if path.is_file()]:
            if path.relative_to(home).as_posix() not in texts:
                path.unlink()
        for name, text in texts.items():
            path = home / name
            try:
                same = path.read_text("utf-8") == text
            except (OSError, ValueError):
                same = False
            if not same:
                new = path.with_name(f".{path.name}.{os.getpid()}")
                _write(new, text)
                os.rename(new, path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(_DIRECTORY, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
