"""One configuration on its way to nginx: what to do next, given how the last step ended.  Pure: a generator of steps.

Rendered, tested, swapped, reloaded, proven; or back to what was.  A test that fails is answered in this order: an
include of the user that is to blame goes back to what it was when it last passed; templates of the user do; the keys of
the file to blame are set aside.  Where nginx names no file, or one after the other, :mod:`.isolate` searches among the
keys that are not as they were.  What remains wrong is outside of what we write: then nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from fastroute.controller.nginx.local import NOT_RUNNING, in_words
from fastroute.controller.nginx_mode.isolate import Check, Isolated, Refusal, isolate
from fastroute.controller.nginx_mode.nginx_config import Look, Rendered, State, render
from fastroute.controller.nginx_mode.rendering import TemplateProblem
from fastroute.controller.nginx_mode.user_templates import Customs

#: Files that nginx blames, one a test, before the keys to blame are searched for.
ONE_BY_ONE = 4
INCLUDES = "includes/"
UNTRIED = "not tried yet: nginx refuses many keys, and each has to be found; it is tried again soon"
_PLACE = re.compile(r" in (\S+):(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Swap:
    """Let nginx find it from now on, also when it starts anew.  Answered with why not, or empty."""

    rendered: Rendered


@dataclass(frozen=True, slots=True)
class Reload:
    """Let nginx take it over, and prove that it did.  Answered with why not (``NOT_RUNNING...``: it does not), or
    empty."""

    rendered: Rendered


Step = Check | Swap | Reload


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.  ``rendered``: what is swapped in now, None: what was before.  ``customs``: those that passed.
    ``error``: why not all is as it was wanted, empty if it is; ``aside``: keys kept out, and why; ``untried``: those of
    them that only wait for their turn; ``dropped``: those that nginx refuses even as keys without a node; ``proven``:
    nginx serves ``rendered``; ``reloaded``: nginx was told."""

    rendered: Rendered | None
    customs: Customs | None
    error: str
    aside: Mapping[str, str]
    untried: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    proven: bool = False
    reloaded: bool = False


def trial(
    state: State, fresh: Customs, good: Customs | None, look: Look, before: Rendered | None, running: str
) -> Generator[Step, str, Outcome]:
    """Try ``state`` with the user's ``fresh`` files.  ``good``: those that passed last; ``before``: what was swapped in
    last; ``running``: the hash that nginx answers."""
    try:
        found = yield from _passing(state, fresh, good, look, before)
    except TemplateProblem as broken:
        return Outcome(None, good, f"template {broken}: nothing changes", state.aside, dropped=state.dropped)
    if found.rendered is None:
        return found
    rendered = found.rendered
    if rendered.hash == running and before and before.hash == rendered.hash:
        if before.files != rendered.files and (problem := (yield Swap(rendered))):
            return replace(found, rendered=None, error=problem)
        return replace(found, proven=True)
    if problem := (yield Swap(rendered)):
        return replace(found, rendered=None, error=problem)
    problem = yield Reload(rendered)
    if not problem:
        return replace(found, proven=True, reloaded=True)
    if problem.startswith(NOT_RUNNING):  # it was tested, and it is what nginx should start with
        return replace(found, error=problem)
    if before is None or before.hash == rendered.hash:
        return replace(found, rendered=None, error=problem, reloaded=True)
    error = f"{problem}; back to the configuration before"
    if second := (yield Swap(before)) or (yield Reload(before)):
        error = f"{error}, which fails too: {second}"
    return replace(found, rendered=None, error=error, reloaded=True)


def _passing(
    state: State, fresh: Customs, good: Customs | None, look: Look, before: Rendered | None
) -> Generator[Step, str, Outcome]:
    """A configuration that nginx takes, as near to what is wanted as there is."""
    customs, notes, refused, untried = fresh, list[str](), list[Refusal](), set[str]()
    aside, dropped = dict(state.aside), set(state.dropped)
    while True:
        try:
            rendered = render(replace(state, aside=aside, dropped=frozenset(dropped)), customs, look)
        except TemplateProblem as problem:
            if good is None or customs.templates == good.templates:
                raise
            notes.append(f"template {problem}; the templates before stay")
            customs = replace(customs, templates=good.templates)
            continue
        refusal = "" if before and before.hash == rendered.hash else (yield Check(rendered))
        if not refusal:
            passed = _passed(customs, good, refused, rendered if untried else None)
            return Outcome(rendered, passed, "; ".join(notes), aside, frozenset(untried), frozenset(dropped))
        at = blamed(refusal, rendered)
        said = _in_words(refusal, rendered, customs)
        if older := _with_include_before(customs, good, at):
            notes.append(f"{said}; the include before stays")
            customs = older
        elif not at.startswith(INCLUDES) and good and customs.templates != good.templates:
            notes.append(f"{said}, made by {_changed(customs, good)}; the templates before stay")
            customs = replace(customs, templates=good.templates)
        elif len(refused) < ONE_BY_ONE and (keys := _next(rendered.owners.get(at, ()), aside, dropped)):
            refused.append(Refusal(said, at))
            dropped |= keys & aside.keys()
            aside.update(dict.fromkeys(keys, said))
        else:
            tried = replace(state, aside=aside, dropped=frozenset(dropped))
            found = yield from _search(tried, rendered, customs, look, before)
            if found is None or not (found.refused or found.untried):
                return Outcome(
                    None, good, f"nginx refuses the configuration, nothing changes: {said}", state.aside,
                    dropped=state.dropped,
                )  # fmt: skip
            for key, one in found.refused.items():
                if older := _with_include_before(customs, good, one.file):
                    notes.append(f"{one.said}; the include before stays")
                    customs = older
                else:
                    refused.append(one)
                    aside[key] = one.said
            aside |= dict.fromkeys(found.untried, UNTRIED)
            dropped, untried = dropped | found.dropped, untried | found.untried


def _with_include_before(customs: Customs, good: Customs | None, file: str) -> Customs | None:
    """``customs`` with the include ``file`` as it passed last; None: it is no include, or did not pass otherwise."""
    name = file.removeprefix(INCLUDES)
    before = good.includes.get(name) if good and file.startswith(INCLUDES) else None
    if before is None or before == customs.includes[name]:
        return None
    return replace(customs, includes={**customs.includes, name: before})


def _next(owners: tuple[str, ...], aside: Mapping[str, str], dropped: set[str]) -> set[str]:
    """What to do without, of the keys to blame: as keys with nodes first, then as keys at all."""
    return set(owners) - aside.keys() or set(owners) - dropped


def _search(
    state: State, rendered: Rendered, customs: Customs, look: Look, before: Rendered | None
) -> Generator[Step, str, Isolated | None]:
    """The keys that nginx refuses of those that are not as they were; of all, if it is none of those."""

    def without(keys: set[str], dropped: set[str]) -> Rendered:
        aside = {**state.aside, **dict.fromkeys(keys, UNTRIED)}
        return render(replace(state, aside=aside, dropped=state.dropped | dropped), customs, look)

    def read(said: str, candidate: Rendered) -> Refusal:
        return Refusal(_in_words(said, candidate, customs), blamed(said, candidate))

    every = {key for key, _, _ in state.desired} - state.aside.keys()
    changed = _changed_keys(rendered, before) & every
    found = yield from isolate(_groups(changed, state, before), without, read)
    if found is None and changed != every:
        found = yield from isolate(_groups(every, state, before), without, read)
    return found


def _groups(keys: set[str], state: State, before: Rendered | None) -> Iterator[list[str]]:
    """Those that nginx serves now; then the others container by container, those with few keys first: 1, 1, 2, 4, ...
    containers at once."""
    served = {key for key, address, _ in before.served if address} if before else set()
    yield sorted(keys & served)
    containers: dict[str, str] = {}
    for route in state.desired.values():
        key = route.entry.key
        containers[key] = min(route.container, containers.get(key, route.container))
    by_container: dict[str, list[str]] = {}
    for key in sorted(keys - served):
        by_container.setdefault(containers[key], []).append(key)
    ordered = [by_container[name] for name in sorted(by_container, key=lambda name: (len(by_container[name]), name))]
    start = 0
    while start < len(ordered):
        end = max(1, 2 * start)
        yield [key for of_one in ordered[start:end] for key in of_one]
        start = end


def _changed_keys(rendered: Rendered, before: Rendered | None) -> set[str]:
    """The keys whose files are not what they were."""
    files = before.files if before else {}
    return {key for name, keys in rendered.owners.items() if files.get(name) != rendered.files[name] for key in keys}


def _passed(customs: Customs, good: Customs | None, refused: list[Refusal], only: Rendered | None) -> Customs:
    """``customs`` without the includes that nginx refused, and (``only``) as before where nginx has not seen them."""
    names = {refusal.file for refusal in refused}
    includes = {name: source for name, source in customs.includes.items() if f"includes/{name}" not in names}
    if only is not None:
        seen = {name: source for name, source in includes.items() if f"includes/{name}" in only.files}
        includes = {**(good.includes if good else {}), **seen}
    return replace(customs, includes=includes)


def blamed(problem: str, rendered: Rendered) -> str:
    """The file of ours that nginx names in ``problem``; empty: none."""
    for path, _ in _PLACE.findall(problem):
        for name in rendered.files:
            if path.endswith(f"/{name}"):
                return name
    return ""


def _in_words(problem: str, rendered: Rendered, customs: Customs) -> str:
    """nginx's words, with the user's own file and line where an include is to blame."""
    text = in_words(problem) or "no reason given"
    at = blamed(problem, rendered)
    source = customs.includes.get(at.removeprefix("includes/"))
    if source and (match := _PLACE.search(text)):
        return f"{source.file}:{match[2]}: {text[: match.start()]}"
    return text


def _changed(customs: Customs, good: Customs) -> str:
    """The files of the templates that are not as they were."""
    return ", ".join(
        source.file for name, source in sorted(customs.templates.items()) if good.templates.get(name) != source
    )
