"""Finding the keys that nginx refuses, where there are many of them or nginx names no file.  Pure.

nginx ends a test at its first error, so each test tells of one key at most.  The keys in doubt are all left out, then
tried in groups, each with what has passed by then; a group that is refused is tried again in halves.  However many
are refused, the number of tests is bounded: keys that are not decided by then stay out until the next attempt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass

from fastroute.controller.nginx_mode.nginx_config import Rendered

#: Tests in one search, at most: all other changes wait for them.
MAX_TESTS = 16


@dataclass(frozen=True, slots=True)
class Check:
    """Does nginx take it?  Answered with the reason why not, or empty."""

    rendered: Rendered


@dataclass(frozen=True, slots=True)
class NginxRefusal:
    """A test that failed."""

    #: What nginx said.
    reason: str
    #: Which of our files nginx named; empty: none.
    file: str


@dataclass(frozen=True, slots=True)
class Isolated:
    """What a search result out."""

    #: The keys that nginx is known to refuse, and how.
    refused: dict[str, NginxRefusal]
    #: The refused keys that nginx refuses even without a node.
    dropped: set[str]
    #: The keys of which it is not known yet.
    untried: set[str]


#: The configuration without some keys (their requests are answered 503), and with no word of some of those.
RenderWithout = Callable[[set[str], set[str]], Rendered]


def isolate(
    groups: Iterable[Collection[str]], without: RenderWithout, read: Callable[[str, Rendered], NginxRefusal]
) -> Generator[Check, str, Isolated | None]:
    """Find the refused keys among ``groups``, the first one first; None: nginx refuses the rest without them, too.

    ``read`` finds the file that nginx blames.
    """
    waiting = deque(list(group) for group in groups if group)
    result = Isolated({}, set(), {key for group in waiting for key in group})
    if not result.untried or not (yield from _base(result, without, read)):
        return None
    for _ in range(MAX_TESTS):
        if not waiting:
            break
        group = [key for key in waiting.popleft() if key in result.untried]
        candidate = without(result.untried - set(group) | result.refused.keys(), result.dropped)
        problem = yield Check(candidate)
        if not problem:
            result.untried.difference_update(group)
            continue
        refusal = read(problem, candidate)
        owners = set(candidate.owners.get(refusal.file, ()))
        if owners.isdisjoint(group) and _drop(result, owners, refusal):
            waiting.appendleft(group)
            continue
        culprits = group if len(group) == 1 else [key for key in group if key in owners]
        _refuse(result, culprits, refusal)
        rest = [key for key in group if key not in culprits]
        # Depth first: whatever the number of tests, some keys are known by the end.
        waiting.extendleft(filter(None, (rest[len(rest) // 2 :], rest[: len(rest) // 2])))
    return result


def _base(
    result: Isolated, without: RenderWithout, read: Callable[[str, Rendered], NginxRefusal]
) -> Generator[Check, str, bool]:
    """True once nginx takes the configuration without the untried keys; those that it names all the same are dropped
    (a location that an include of the user has, too)."""
    for _ in range(MAX_TESTS):
        candidate = without(result.untried | result.refused.keys(), result.dropped)
        problem = yield Check(candidate)
        if not problem:
            return True
        refusal = read(problem, candidate)
        if not _drop(result, set(candidate.owners.get(refusal.file, ())), refusal):
            return False
    return False


def _drop(result: Isolated, owners: set[str], refusal: NginxRefusal) -> bool:
    """Keys that have no node, and are to blame all the same; false if there is none of them in ``owners``."""
    culprits = owners & (result.untried | result.refused.keys()) - result.dropped
    result.dropped.update(culprits)
    _refuse(result, culprits, refusal)
    return bool(culprits)


def _refuse(result: Isolated, keys: Collection[str], refusal: NginxRefusal) -> None:
    result.refused.update(dict.fromkeys(keys, refusal))
    result.untried.difference_update(keys)
