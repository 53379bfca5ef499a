"""Applying a configuration: which step is next, given how the last one ended.  Pure: a generator of steps.

A configuration is rendered, tested, swapped in, reloaded and proven, or the one before is put back.  A test that fails
is answered in this order: an include of the user that is to blame goes back to what it was when it last passed;
templates of the user do; the keys of the file to blame are quarantined ("set aside" in messages).  Where nginx names no
file, or one after the other, :mod:`.isolate` searches among the keys that are not as they were.  What remains wrong is
outside of what we write: then nothing changes."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from fastroute.controller.nginx.local import NOT_RUNNING, first_error
from fastroute.controller.nginx_mode.isolate import Check, Isolated, NginxRefusal, isolate
from fastroute.controller.nginx_mode.nginx_config import ConfigState, NginxOptions, Rendered, render
from fastroute.controller.nginx_mode.rendering import TemplateProblem
from fastroute.controller.nginx_mode.user_templates import UserTemplates

#: After so many files that nginx blames, one a test, the keys to blame are searched for.
MAX_BLAMED_FILES = 4
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
    """How it ended."""

    #: The configuration that is swapped in now; None: the one before still is.
    rendered: Rendered | None
    #: The user's files that passed.
    user_templates: UserTemplates | None
    #: Why nginx does not serve all that is desired; empty if it does.
    error: str
    #: The keys that are kept out, and why.
    quarantined: Mapping[str, str]
    #: The quarantined keys that only wait for their turn to be tried.
    untried: frozenset[str] = frozenset()
    #: The quarantined keys that nginx refuses even without a node.
    dropped: frozenset[str] = frozenset()
    #: True if nginx serves ``rendered``.
    proven: bool = False
    #: True if nginx was told to reload.
    reloaded: bool = False


def apply_config(
    state: ConfigState,
    latest: UserTemplates,
    last_good: UserTemplates | None,
    options: NginxOptions,
    before: Rendered | None,
    running: str,
) -> Generator[Step, str, Outcome]:
    """Try to make nginx serve ``state`` with the user's ``latest`` files.

    ``last_good`` are the user's files that passed last, ``before`` is the configuration that was swapped in last, and
    ``running`` is the hash that nginx answers.
    """
    try:
        outcome = yield from _find_passing(state, latest, last_good, options, before)
    except TemplateProblem as broken:
        return Outcome(None, last_good, f"template {broken}: nothing changes", state.quarantined, dropped=state.dropped)
    if outcome.rendered is None:
        return outcome
    rendered = outcome.rendered
    if rendered.hash == running and before and before.hash == rendered.hash:
        if before.files != rendered.files and (problem := (yield Swap(rendered))):
            return replace(outcome, rendered=None, error=problem)
        return replace(outcome, proven=True)
    if problem := (yield Swap(rendered)):
        return replace(outcome, rendered=None, error=problem)
    problem = yield Reload(rendered)
    if not problem:
        return replace(outcome, proven=True, reloaded=True)
    if problem.startswith(NOT_RUNNING):  # it was tested, and it is what nginx should start with
        return replace(outcome, error=problem)
    if before is None or before.hash == rendered.hash:
        return replace(outcome, rendered=None, error=problem, reloaded=True)
    error = f"{problem}; back to the configuration before"
    if second := (yield Swap(before)) or (yield Reload(before)):
        error = f"{error}, which fails too: {second}"
    return replace(outcome, rendered=None, error=error, reloaded=True)


def _find_passing(
    state: ConfigState,
    latest: UserTemplates,
    last_good: UserTemplates | None,
    options: NginxOptions,
    before: Rendered | None,
) -> Generator[Step, str, Outcome]:
    """Find the configuration that nginx takes and that is nearest to the desired one."""
    candidate = _Candidate(state, latest, last_good, options)
    while True:
        rendered = candidate.render()
        problem = "" if before and before.hash == rendered.hash else (yield Check(rendered))
        if not problem:
            return candidate.outcome(rendered)
        refusal = NginxRefusal(_reason(problem, rendered, candidate.user_templates), blamed(problem, rendered))
        if candidate.restore_include(refusal) or candidate.restore_templates(refusal):
            continue
        if len(candidate.refused) < MAX_BLAMED_FILES and candidate.quarantine(refusal, rendered):
            continue
        isolated = yield from _search(candidate.state, rendered, candidate.user_templates, options, before)
        if isolated is None or not (isolated.refused or isolated.untried):
            error = f"nginx refuses the configuration, nothing changes: {refusal.reason}"
            return Outcome(None, last_good, error, state.quarantined, dropped=state.dropped)
        candidate.add(isolated)


class _Candidate:
    """What is tried next, and what of the desired configuration was given up for that."""

    def __init__(
        self, state: ConfigState, latest: UserTemplates, last_good: UserTemplates | None, options: NginxOptions
    ) -> None:
        self.user_templates = latest
        #: The refusals for which keys are quarantined.
        self.refused: list[NginxRefusal] = []
        self._desired, self._last_good, self._options = state, last_good, options
        self._notes: list[str] = []
        self._quarantined, self._dropped = dict(state.quarantined), set(state.dropped)
        self._untried: set[str] = set()

    @property
    def state(self) -> ConfigState:
        """The desired state, with the keys that are quarantined by now."""
        return replace(self._desired, quarantined=self._quarantined, dropped=frozenset(self._dropped))

    def render(self) -> Rendered:
        """The configuration; where a template of the user is broken, with those that passed last."""
        try:
            return render(self.state, self.user_templates, self._options)
        except TemplateProblem as problem:
            if self._last_good is None or self.user_templates.templates == self._last_good.templates:
                raise
            self._notes.append(f"template {problem}; the templates before stay")
            self.user_templates = replace(self.user_templates, templates=self._last_good.templates)
        return render(self.state, self.user_templates, self._options)

    def restore_include(self, refusal: NginxRefusal) -> bool:
        """Go back to the include that passed last, if one is to blame; false: none is, or none passed."""
        older = _with_include_before(self.user_templates, self._last_good, refusal.file)
        if older is None:
            return False
        self._notes.append(f"{refusal.reason}; the include before stays")
        self.user_templates = older
        return True

    def restore_templates(self, refusal: NginxRefusal) -> bool:
        """Go back to the user's templates that passed last, if they may be to blame; false: they can't be."""
        last_good = self._last_good
        if refusal.file.startswith(INCLUDES) or not last_good or self.user_templates.templates == last_good.templates:
            return False
        changed = _changed(self.user_templates, last_good)
        self._notes.append(f"{refusal.reason}, made by {changed}; the templates before stay")
        self.user_templates = replace(self.user_templates, templates=last_good.templates)
        return True

    def quarantine(self, refusal: NginxRefusal, rendered: Rendered) -> bool:
        """Do without the keys of the file to blame; false: there are none."""
        keys = _next(rendered.owners.get(refusal.file, ()), self._quarantined, self._dropped)
        if not keys:
            return False
        self.refused.append(refusal)
        self._dropped |= keys & self._quarantined.keys()
        self._quarantined.update(dict.fromkeys(keys, refusal.reason))
        return True

    def add(self, isolated: Isolated) -> None:
        """Do without the keys that a search found, and those that it had no time for."""
        for key, refusal in isolated.refused.items():
            if not self.restore_include(refusal):
                self.refused.append(refusal)
                self._quarantined[key] = refusal.reason
        self._quarantined |= dict.fromkeys(isolated.untried, UNTRIED)
        self._dropped |= isolated.dropped
        self._untried |= isolated.untried

    def outcome(self, rendered: Rendered) -> Outcome:
        """nginx takes ``rendered``."""
        passed = _passed(self.user_templates, self._last_good, self.refused, rendered if self._untried else None)
        notes, untried = "; ".join(self._notes), frozenset(self._untried)
        return Outcome(rendered, passed, notes, self._quarantined, untried, frozenset(self._dropped))


def _with_include_before(
    user_templates: UserTemplates, last_good: UserTemplates | None, file: str
) -> UserTemplates | None:
    """``user_templates`` with the include ``file`` as it passed last; None: no such include passed before."""
    name = file.removeprefix(INCLUDES)
    before = last_good.includes.get(name) if last_good and file.startswith(INCLUDES) else None
    if before is None or before == user_templates.includes[name]:
        return None
    return replace(user_templates, includes={**user_templates.includes, name: before})


def _next(owners: tuple[str, ...], quarantined: Mapping[str, str], dropped: set[str]) -> set[str]:
    """What to do without, of the keys to blame: as keys with nodes first, then as keys at all."""
    return set(owners) - quarantined.keys() or set(owners) - dropped


def _search(
    state: ConfigState,
    rendered: Rendered,
    user_templates: UserTemplates,
    options: NginxOptions,
    before: Rendered | None,
) -> Generator[Step, str, Isolated | None]:
    """The keys that nginx refuses of those that are not as they were; of all, if it is none of those."""

    def without(keys: set[str], dropped: set[str]) -> Rendered:
        quarantined = {**state.quarantined, **dict.fromkeys(keys, UNTRIED)}
        return render(replace(state, quarantined=quarantined, dropped=state.dropped | dropped), user_templates, options)

    def read(problem: str, candidate: Rendered) -> NginxRefusal:
        return NginxRefusal(_reason(problem, candidate, user_templates), blamed(problem, candidate))

    every = {key for key, _, _ in state.desired} - state.quarantined.keys()
    changed = _changed_keys(rendered, before) & every
    isolated = yield from isolate(_groups(changed, state, before), without, read)
    if isolated is None and changed != every:
        isolated = yield from isolate(_groups(every, state, before), without, read)
    return isolated


def _groups(keys: set[str], state: ConfigState, before: Rendered | None) -> Iterator[list[str]]:
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


def _passed(
    user_templates: UserTemplates, last_good: UserTemplates | None, refused: list[NginxRefusal], only: Rendered | None
) -> UserTemplates:
    """``user_templates`` without the includes that nginx refused; those not in ``only`` stay as they passed."""
    names = {refusal.file for refusal in refused}
    includes = {name: source for name, source in user_templates.includes.items() if f"includes/{name}" not in names}
    if only is not None:
        seen = {name: source for name, source in includes.items() if f"includes/{name}" in only.files}
        includes = {**(last_good.includes if last_good else {}), **seen}
    return replace(user_templates, includes=includes)


def blamed(problem: str, rendered: Rendered) -> str:
    """The file of ours that nginx names in ``problem``; empty: none."""
    for path, _ in _PLACE.findall(problem):
        for name in rendered.files:
            if path.endswith(f"/{name}"):
                return name
    return ""


def _reason(problem: str, rendered: Rendered, user_templates: UserTemplates) -> str:
    """nginx's words, with the user's own file and line where an include is to blame."""
    text = first_error(problem) or "no reason given"
    at = blamed(problem, rendered)
    source = user_templates.includes.get(at.removeprefix("includes/"))
    if source and (match := _PLACE.search(text)):
        return f"{source.file}:{match[2]}: {text[: match.start()]}"
    return text


def _changed(user_templates: UserTemplates, last_good: UserTemplates) -> str:
    """The files of the templates that are not as they were."""
    return ", ".join(
        source.file
        for name, source in sorted(user_templates.templates.items())
        if last_good.templates.get(name) != source
    )
