"""Deploys and accidents: what happens to the containers while requests go on.  Each ends as it began, with what every
subject serves at the beginning of the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.docker_link import DockerLink
from benchmarks.peers.site import NAMES, SERVICES, THREE, Site

#: One more container of that key, where a scenario has one.
FOURTH = "three-4"
#: Seconds of load before anything happens.
BEFORE = 1.0
PAUSE, CUT, BROKEN, DELAY, DRAIN = 5.0, 20.0, 5.0, 3, 4
#: What docker-rollout waits for containers without a HEALTHCHECK, by default.
ROLLOUT_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Accident:
    """One scenario: which key is asked for, what happens, and how the containers are put right behind it."""

    name: str
    key: str
    happen: Callable[[Site, DockerLink], None]
    #: Seconds of load behind it.
    after: float
    restore: Callable[[Site], None]
    #: The containers stay those that they are: whoever knows three addresses can take part.
    fixed: bool = False
    #: What is made before the load begins: the names that serve the key, too.
    prepare: Callable[[Site], tuple[str, ...]] = lambda site: ()


def _nothing(site: Site) -> None:
    """All is as it was."""


def _start_all(site: Site) -> None:
    site.docker("start", *NAMES)


def _stop_one(site: Site, _: DockerLink) -> None:
    site.docker("stop", NAMES[0])


def _fourth_that_drains(site: Site) -> tuple[str, ...]:
    site.run(FOURTH, THREE, "-e", f"DRAIN={DRAIN}")
    return (FOURTH,)


def _stop_fourth(site: Site, _: DockerLink) -> None:
    site.docker("stop", FOURTH)


def _kill_one(site: Site, _: DockerLink) -> None:
    site.docker("kill", "--signal", "KILL", NAMES[0])


def _pause_one(site: Site, _: DockerLink) -> None:
    site.docker("pause", NAMES[0])
    time.sleep(PAUSE)
    site.docker("unpause", NAMES[0])


def _break_one(site: Site, _: DockerLink) -> None:
    site.control(NAMES[0], "break")
    time.sleep(BROKEN)
    site.control(NAMES[0], "mend")


def _accept_early(site: Site, _: DockerLink) -> None:
    site.run(FOURTH, THREE, "-e", f"DELAY={DELAY}")


def _accept_early_checked(site: Site, _: DockerLink) -> None:
    site.run(FOURTH, THREE, "-e", f"DELAY={DELAY}", image="peers-worker-checked")


def _remove_fourth(site: Site) -> None:
    site.remove(FOURTH)


def _reuse_address(site: Site, _: DockerLink) -> None:
    """Another key's container gets the address of one that was killed and removed."""
    site.remove(NAMES[2])
    site.run("other", "other", at=13)


def _give_address_back(site: Site) -> None:
    site.remove("other")
    site.run(NAMES[2], THREE, at=13)


def _cut_events(site: Site, link: DockerLink) -> None:
    """While nobody can ask Docker, one container is stopped and a new one starts."""
    link.cut()
    time.sleep(2)
    site.docker("stop", NAMES[0])
    site.run(FOURTH, THREE)
    time.sleep(CUT - 2)
    link.mend()


def _restore_cut(site: Site) -> None:
    site.remove(FOURTH)
    site.docker("start", NAMES[0])


def _restart_daemon(site: Site, _: DockerLink) -> None:
    """The containers live on; one is stopped as soon as the daemon is back."""
    site.engine.restart()
    site.docker("stop", NAMES[0])


def _plain(service: str) -> Callable[[Site, DockerLink], None]:
    def happen(site: Site, _: DockerLink) -> None:
        site.compose("up", "-d", "--force-recreate", service)

    return happen


def _rolling(service: str) -> Callable[[Site, DockerLink], None]:
    """What docker-rollout does: as many again, a wait, and the old ones go, one after the other."""

    def happen(site: Site, _: DockerLink) -> None:
        old = site.of_service(service)
        site.compose("up", "-d", "--no-recreate", "--scale", f"{service}={2 * len(old)}", service)
        time.sleep(ROLLOUT_WAIT)
        for name in old:
            site.docker("stop", name)
            site.docker("rm", name)

    return happen


ACCIDENTS = (
    Accident("docker stop, one of three", THREE, _stop_one, 4, _start_all, fixed=True),
    Accident(
        "docker stop, drained by health checks", THREE, _stop_fourth, 3, _remove_fourth, prepare=_fourth_that_drains
    ),
    Accident("plain up -d, two replicas", "two", _plain("two"), 4, _nothing),
    Accident("plain up -d, one replica", "one", _plain("one"), 4, _nothing),
    Accident("rolling, two replicas", "two", _rolling("two"), 3, _nothing),
    Accident("rolling, one replica", "one", _rolling("one"), 3, _nothing),
    Accident("kill -9, one of three", THREE, _kill_one, 4, _start_all, fixed=True),
    Accident("pause for 5 s, one of three", THREE, _pause_one, 3, _nothing, fixed=True),
    Accident("one of three answers 500 for 5 s", THREE, _break_one, 3, _nothing, fixed=True),
    Accident("accepts 3 s before it can answer", THREE, _accept_early, 6, _remove_fourth),
    Accident("the same with a HEALTHCHECK", THREE, _accept_early_checked, 6, _remove_fourth),
    Accident("freed address, another key", THREE, _reuse_address, 4, _give_address_back),
    Accident("events cut for 20 s", THREE, _cut_events, 5, _restore_cut),
    Accident("daemon restarted, then docker stop", THREE, _restart_daemon, 4, _start_all),
)


def ready(site: Site, key: str, fixed: bool = True, more: Sequence[str] = ()) -> None:
    """Every subject (but those with fixed addresses, if not ``fixed``) serves this key by the containers that it has
    at rest, and by ``more``."""
    names = (*NAMES, *more) if key == THREE else site.of_service(key)
    if key in SERVICES and len(names) != SERVICES[key]:
        raise RuntimeError(f"{key} has {names}, {SERVICES[key]} expected")
    site.settle(key, site.host_names(*names), site.taking_part(fixed and key == THREE))
