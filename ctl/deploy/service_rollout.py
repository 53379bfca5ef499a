"""One rollout of one service, from the lock to the result.  An edge."""

from __future__ import annotations

from dataclasses import asdict

from fastroute.ctl.deploy.admins import Admins, admins_of
from fastroute.ctl.deploy.compose import ComposeService
from fastroute.ctl.deploy.lock import RolloutFiles
from fastroute.ctl.deploy.observed import Journal, Observation, RolloutOptions, RolloutOutcome
from fastroute.ctl.deploy.rollout_plan import RolloutPlan
from fastroute.ctl.deploy.runner import Report, Runner, ServiceWatch, planned
from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import CtlSettings

#: Algorithms that choose by requests in flight alone, so that weights give no node a share.
_SHARELESS = frozenset({"lrc", "random2"})


class ServiceRollout:
    """A rollout of ``service``; ``key``: only its answers are compared (None: those of all keys)."""

    def __init__(
        self,
        settings: CtlSettings,
        service: ComposeService,
        report: Report,
        options: RolloutOptions,
        key: str | None,
    ) -> None:
        self._settings, self._service, self._report = settings, service, report
        self._options, self._key = options, key
        #: For the result: keys, the containers of before and after, what was compared.
        self.facts: dict[str, object] = {}
        #: The containers that are there in the end.
        self.names: list[str] = []

    def preview(self) -> RolloutOutcome:
        """Report the steps that a rollout would take; nothing is done."""
        with admins_of(self._settings, self._ids()) as admins:
            watch = self._watch(admins)
            seen = watch.look()
            self._check(seen, admins)
            names = [container.name for container in seen.containers]
            self._facts(seen, seen, None)
            for text in planned(self._service.service, names, sorted(_keys(seen)), self._options):
                self._report.step(text)
        return RolloutOutcome("planned", "this would be done")

    def run(self, *, build: bool, pull: bool) -> RolloutOutcome:
        """Roll out, with a new image where ``pull`` or ``build`` asks for one."""
        files = RolloutFiles(self._service.project, self._service.service)
        with files.locked() as descriptor:
            self._service.inherit(descriptor)
            with admins_of(self._settings, self._ids()) as admins:
                self._check(self._watch(admins).look(), admins)
                if pull:
                    self._report.step(f"pulling the image of {self._service.service}")
                    self._service.pull()
                if build:
                    self._report.step(f"building the image of {self._service.service}")
                    self._service.build()
                outcome = self._once(files, admins)
                if outcome.resumed and not self._service.up_to_date(self._ids()):
                    self._report.step("what the earlier run had begun is done; now the present version")
                    outcome = self._once(files, admins)
                return outcome

    def _once(self, files: RolloutFiles, admins: Admins) -> RolloutOutcome:
        watch = self._watch(admins)
        before = watch.look()
        journal = files.read() or interrupted(before) or fresh(before)
        files.write(journal)
        plan = RolloutPlan(journal, self._options)
        outcome = Runner(self._service, admins, watch, self._report).run(plan)
        self._facts(before, watch.look(), plan)
        if not outcome.unfinished:
            files.forget()
        return outcome

    def _ids(self) -> list[str]:
        return [container.id for container in self._service.containers()]

    def _watch(self, admins: Admins) -> ServiceWatch:
        return ServiceWatch(self._service, admins, self._key, counts=bool(self._options.bake))

    def _check(self, seen: Observation, admins: Admins) -> None:
        """``CtlError`` says why the service can't be rolled out, where it can't."""
        service, keys = self._service.service, _keys(seen)
        if seen.containers and not keys:
            states = "; ".join(f"{container.name}: {container.state}" for container in seen.containers[:4])
            raise CtlError(f"service {service} has no key at this controller, so there is nothing to switch ({states})")
        if self._key is not None and keys and self._key not in keys:
            raise CtlError(f"service {service} does not have key {self._key!r}; it has {', '.join(sorted(keys))}")
        if not self._options.bake or not keys:
            return
        if admins.nginx_mode:
            raise CtlError("nginx mode counts no answers by container, so --bake and --canary need router mode")
        if not any("statuses" in node for key in keys for node in admins.nodes(key)):
            raise CtlError("no router tells the statuses of its answers, so --bake and --canary can't compare anything")
        for key in sorted(keys) if self._options.canary is not None else ():
            if shareless := admins.algorithms(key) & _SHARELESS:
                raise CtlError(
                    f"key {key} is balanced by {min(shareless)}, which keeps no share: a canary could get half of the "
                    "requests, or none; --canary needs fastroute.algorithm: wrr, or wlrc, which is lrc with weights"
                )

    def _facts(self, before: Observation, after: Observation, plan: RolloutPlan | None) -> None:
        self.names = [container.name for container in after.containers]
        self.facts = {
            "keys": sorted(_keys(before) | _keys(after)),
            "before": [container.name for container in before.containers],
            "after": self.names,
            "compared": [
                {"when": when, **asdict(comparison), "enough": comparison.enough, "text": str(comparison)}
                for when, comparison in (plan.comparisons if plan else ())
            ],
        }


def fresh(seen: Observation) -> Journal:
    """Nothing was begun: all that are there are old."""
    return Journal(
        tuple(container.id for container in seen.containers),
        tuple(container.id for container in seen.containers if container.serves),
    )


def interrupted(seen: Observation) -> Journal | None:
    """What a run that was ended elsewhere has left, by the controller's switch; None: nothing.

    Containers are old that are like the oldest one: switched away, or not."""
    if len({container.switched for container in seen.containers}) < 2:
        return None
    old = [container.id for container in seen.containers if container.switched == seen.containers[0].switched]
    return Journal(tuple(old), tuple(old))


def _keys(seen: Observation) -> set[str]:
    return {key for container in seen.containers for key in container.keys}
