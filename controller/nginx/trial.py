"""One configuration on its way to nginx: what to do next, given how the last step ended.  Pure: a generator of steps.

Rendered, tested, swapped, reloaded, proven; or back to what was.  A test that fails is answered in this order: an
include of the user that is to blame goes back to what it was when it last passed; templates of the user do; the keys of
the file to blame are set aside.  Where nginx names no file, the key is searched for by halves.  What remains wrong is
outside of what we write: then nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from fastroute.controller.nginx.customs import Customs
from fastroute.controller.nginx.local import NOT_RUNNING, in_words
from fastroute.controller.nginx.nginx_config import Look, Rendered, State, render
from fastroute.controller.nginx.rendering import TemplateProblem

#: Keys set aside in one trial, at most: with more, something else is wrong.
MAX_ASIDE = 20
_PLACE = re.compile(r" in (\S+):(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """Does nginx take it?  Answered with the reason why not, or empty."""

    rendered: Rendered


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
    ``error``: why not all is as it was wanted, empty if it is; ``aside``: keys kept out, and why; ``proven``: nginx
    serves ``rendered``; ``reloaded``: nginx was told."""

    rendered: Rendered | None
    customs: Customs | None
    error: str
    aside: Mapping[str, str]
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
        return Outcome(None, good, f"template {broken}: nothing changes", state.aside)
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
    customs, notes, aside, refused = fresh, list[str](), dict(state.aside), set[str]()
    while True:
        try:
            rendered = render(replace(state, aside=aside), customs, look)
        except TemplateProblem as problem:
            if good is None or customs.templates == good.templates:
                raise
            notes.append(f"template {problem}; the templates before stay")
            customs = replace(customs, templates=good.templates)
            continue
        if before and before.hash == rendered.hash:
            refusal = ""
        else:
            refusal = yield Check(rendered)
        if not refusal:
            passed = {name: source for name, source in customs.includes.items() if name not in refused}
            return Outcome(rendered, replace(customs, includes=passed), "; ".join(notes), aside)
        at = blamed(refusal, rendered)
        include = at.removeprefix("includes/") if at.startswith("includes/") else ""
        said = _in_words(refusal, rendered, customs)
        if include and good and good.includes.get(include, customs.includes[include]) != customs.includes[include]:
            notes.append(f"{said}; the include before stays")
            customs = replace(customs, includes={**customs.includes, include: good.includes[include]})
        elif not include and good and customs.templates != good.templates:
            notes.append(f"{said}, made by {_changed(customs, good)}; the templates before stay")
            customs = replace(customs, templates=good.templates)
        else:
            culprits = rendered.owners.get(at, ()) or (yield from _searched(state, aside, customs, look))
            new = [key for key in culprits if key not in aside]
            if not new or len(aside) - len(state.aside) + len(new) > MAX_ASIDE:
                return Outcome(None, good, f"nginx refuses the configuration, nothing changes: {said}", state.aside)
            refused.add(include)
            aside.update(dict.fromkeys(new, said))


def _searched(
    state: State, aside: Mapping[str, str], customs: Customs, look: Look
) -> Generator[Step, str, tuple[str, ...]]:
    """The one key without which nginx takes the rest, by halves; empty: it is not one key's fault."""

    def without(keys: list[str]) -> Rendered:
        return render(replace(state, aside={**aside, **dict.fromkeys(keys, "being tried")}), customs, look)

    suspects = sorted({key for key, _, _ in state.desired} - aside.keys())
    if not suspects or (yield Check(without(suspects))):
        return ()
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        suspects = suspects[len(half) :] if (yield Check(without(half))) else half
    return tuple(suspects)


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
