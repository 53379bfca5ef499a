"""What may be asked of Docker: the list that the stack's socket proxy passes (docs/stack.md), in a swarm."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALLOWED = re.compile(
    r"(/v\d+\.\d+)?/(_ping|version|info|events|containers/json|containers/[\w.-]+/json|networks|networks/[\w.-]+|services|nodes)"
)


def only_reads(questions: Iterable[tuple[str, str]]) -> None:
    """Each (method, path) is a read on the list."""
    changes = [
        question
        for question in questions
        if question[0] not in ("GET", "HEAD") or not _ALLOWED.fullmatch(question[1].partition("?")[0])
    ]
    assert not changes, f"asked of Docker: {changes}"
