"""nginx's whole configuration with a candidate in the place of what is live, for ``nginx -t``.  Standard library only.

nginx has no option that says "this include, but another directory", so the files that lead to ours are copied with that
one include changed; everything else is the original, by link.  Nothing that nginx could start with is touched.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

#: A word in quotes, a comment, the end of a statement, or any other word.
_TOKEN = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\#[^\n]*|[;{}]|(?:[^\s;{}"'\#\\]|\\.)(?:[^\s;{}\\]|\\.)*""", re.S
)
_MAX_INCLUDE_DEPTH = 20


class CandidateProblem(ValueError):
    """The configuration can't be copied; the message says why."""


def candidate_config(main: Path, link: Path, candidate: Path, into: Path) -> Path:
    """A copy of nginx's main file ``main`` that includes ``candidate`` where it includes ``link``; made in the empty
    directory ``into``.  ``CandidateProblem`` when ``main`` never includes ``link``."""
    copies = _Copies(main.parent, link, candidate, into)
    text = copies.changed(main, 0)
    if text is None:
        raise CandidateProblem(
            f"{main} does not include {link}: put 'include {link.parent}/*.conf;' into its http block"
        )
    for entry in main.parent.iterdir():
        if entry.name != main.name:
            (into / entry.name).symlink_to(entry)
    copy = into / main.name
    copy.write_text(text, "utf-8", "surrogateescape")
    return copy


class _Copies:
    def __init__(self, prefix: Path, link: Path, candidate: Path, into: Path) -> None:
        self._prefix, self._link, self._candidate, self._into = prefix, link, candidate, into
        self._count = 0

    def changed(self, path: Path, depth: int) -> str | None:
        """The text of ``path`` with other includes; None: nothing in it leads to the link."""
        if depth > _MAX_INCLUDE_DEPTH:
            return None
        try:
            text = path.read_text("utf-8", "surrogateescape")
        except OSError as error:
            if depth == 0:
                raise CandidateProblem(f"{path}: {error.strerror}") from None
            return None
        parts, last, leads = [], 0, False
        for start, end, argument in includes(text):
            pattern = os.path.join(self._prefix, argument)
            files, leads_to_link = self._replaced(pattern, depth)
            if leads_to_link:
                parts += [text[last:start], " ".join(f'include "{file}";' for file in files)]
                last, leads = end, True
        return "".join([*parts, text[last:]]) if leads else None

    def _replaced(self, pattern: str, depth: int) -> tuple[list[Path], bool]:
        """What an include of ``pattern`` has to include instead, and whether anything in it leads to the link."""
        ours = os.path.normpath(pattern) == str(self._link) or fnmatch.fnmatch(
            str(self._link), os.path.normpath(pattern)
        )
        files, leads = [self._candidate] if ours else [], ours
        for name in sorted(glob.glob(pattern)):
            path = Path(name)
            if ours and path == self._link:
                continue
            text = self.changed(path, depth + 1)
            if text is not None:
                self._count += 1
                path = self._into / f".include-{self._count}"
                path.write_text(text, "utf-8", "surrogateescape")
                leads = True
            files.append(path)
        return files, leads


def includes(text: str) -> Iterator[tuple[int, int, str]]:
    """Each ``include X;`` of ``text``: where it starts and ends, and X."""
    words: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word.startswith("#"):
            continue
        if word not in ";{}":
            words.append(token)
            continue
        if word == ";" and len(words) == 2 and words[0][0] == "include":
            argument = words[1][0]
            yield words[0].start(), token.end(), argument[1:-1] if argument[0] in "\"'" else argument
        words = []
