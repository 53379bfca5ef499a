"""Which keys nginx refuses, where it is more than a few or nginx names no file.  Pure; a part of :mod:`.apply_config`.

nginx ends a test at its first error, so each test tells of one key at most.  The keys in doubt are all left out, then
tried in groups, each with what has passed by then; a group that is refused is tried again in halves.  However many
are refused, the number of tests is bounded: keys that are not decided by then stay out until the next trial.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass

from fastroute.controller.nginx_mode.nginx_config import Rendered

#: Tests in one search, at most: everybody else's changes wait for them.
MOST_TESTS = 16


@dataclass(frozen=True, slots=True)
class Check:
    """Does nginx take it?  Answered with the reason why not, or empty."""

    rendered: Rendered


@dataclass(frozen=True, slots=True)
class Refusal:
    """A test that failed: what nginx said, and of which of our files (empty: it names none)."""

    said: str
    file: str


@dataclass(frozen=True, slots=True)
class Isolated:
    """``refused``: the keys that are known to be refused, and how; ``dropped``: those of them that nginx refuses even
    as keys without a node; ``untried``: the keys that nobody knows of yet."""

    refused: dict[str, Refusal]
    dropped: set[str]
    untried: set[str]


#: The configuration without some keys (their requests are answered 503), and with no word of some of those.
Without = Callable[[set[str], set[str]], Rendered]


def isolate(
    groups: Iterable[Collection[str]], without: Without, read: Callable[[str, Rendered], Refusal]
) -> Generator[Check, str, Isolated | None]:
    """Find the refused keys among ``groups``, the first one first; None: nginx refuses the rest without them, too.

    ``read`` finds the file that nginx blames.
    """
    waiting = deque(list(group) for group in groups if group)
    found = Isolated({}, set(), {key for group in waiting for key in group})
    if not found.untried or not (yield from _base(found, without, read)):
        return None
    for _ in range(MOST_TESTS):
        if not waiting:
            break
        group = [key for key in waiting.popleft() if key in found.untried]
        candidate = without(found.untried - set(group) | found.refused.keys(), found.dropped)
        said = yield Check(candidate)
        if not said:
            found.untried.difference_update(group)
            continue
        refusal = read(said, candidate)
        owners = set(candidate.owners.get(refusal.file, ()))
        if owners.isdisjoint(group) and _drop(found, owners, refusal):
            waiting.appendleft(group)
            continue
        culprits = group if len(group) == 1 else [key for key in group if key in owners]
        _refuse(found, culprits, refusal)
        rest = [key for key in group if key not in culprits]
        # Depth first: whatever the number of tests, some keys are known by the end.
        waiting.extendleft(filter(None, (rest[len(rest) // 2 :], rest[: len(rest) // 2])))
    return found


def _base(found: Isolated, without: Without, read: Callable[[str, Rendered], Refusal]) -> Generator[Check, str, bool]:
    """True once nginx takes the configuration without the untried keys; those that it names all the same are dropped
    (a location that an include of the user has, too)."""
    for _ in range(MOST_TESTS):
        candidate = without(found.untried | found.refused.keys(), found.dropped)
        said = yield Check(candidate)
        if not said:
            return True
        refusal = read(said, candidate)
        if not _drop(found, set(candidate.owners.get(refusal.file, ())), refusal):
            return False
    return False


def _drop(found: Isolated, owners: set[str], refusal: Refusal) -> bool:
    """Keys that have no node, and are to blame all the same; false if there is none of them in ``owners``."""
    culprits = owners & (found.untried | found.refused.keys()) - found.dropped
    found.dropped.update(culprits)
    _refuse(found, culprits, refusal)
    return bool(culprits)


def _refuse(found: Isolated, keys: Collection[str], refusal: Refusal) -> None:
    found.refused.update(dict.fromkeys(keys, refusal))
    found.untried.difference_update(keys)
