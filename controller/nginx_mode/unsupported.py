"""Settings that nginx mode does not have, and what ``ps`` and ``describe`` say of labels that ask for them.  Pure.

It is no error of the container: the same labels work in router mode, and its requests are served here, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fastroute.controller.views import View
from fastroute.router.protocol.node_options import KeyOptions, text_of

#: From this version on nginx has ``sticky``.  Cookies and paths that it takes as they are.
_STICKY_SINCE = (1, 29, 6)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
#: Of the nginx that reads the configuration; None: nobody has said it.
Version = tuple[int, ...] | None


def _no_queue(wait: float) -> str:
    text = f"wait {text_of(wait)} s has no effect in nginx mode: nginx has no queue, and answers at once"
    return f"{text} where no node is free"


def _no_session(sticky: str) -> str:
    text = f"sticky {sticky} has no effect in nginx mode: requests of one client go to any node"
    return f"{text} (nginx has it from 1.29.6 on, where --nginx-version says so)"


def _no_mount(mount: str) -> str:
    return f"mount {mount} has no effect in nginx mode: applications see the whole path"


def no_ramp(ramp: float) -> str:
    """What becomes of the setting ``ramp`` of a node."""
    return f"ramp {text_of(ramp)} s has no effect in nginx mode: a node has its whole share at once"


def _no_zone(zone: str) -> str:
    return f"zone {zone} has no effect in nginx mode: nginx asks all nodes alike"


#: For each setting that nginx mode does not have: what becomes of it, and the value by which nobody asks for it.
_UNSUPPORTED: Mapping[str, tuple[Callable[[Any], str], object]] = {
    "wait": (_no_queue, 0.0),
    "sticky": (_no_session, "off"),
    "mount": (_no_mount, "keep"),
    "ramp": (no_ramp, 0.0),
    "zone": (_no_zone, ""),
}


def unsupported(options: KeyOptions, version: Version = None) -> dict[str, str]:
    """What becomes here of each setting of ``options`` that asks for what nginx of this version does not have, by
    name."""
    values = ((name, getattr(options, name, None), *row) for name, row in _UNSUPPORTED.items())
    texts = {name: text(value) for name, value, text, nothing in values if value and value != nothing}
    if sticky_directive(options, "", version):
        del texts["sticky"]
    return texts


def sticky_directive(options: KeyOptions, path: str, version: Version) -> str:
    """How nginx keeps the clients of a key with this ``path`` at their node; empty where it can't, or is not to."""
    if version is None or version < _STICKY_SINCE or not _PLAIN_NAME.fullmatch(options.cookie):
        return ""
    shown = path if _PLAIN_PATH.fullmatch(path) else "/"
    return f"sticky cookie {options.cookie} path={shown} httponly samesite=lax;"


def noted(views: Mapping[str, View], version: Version) -> dict[str, View]:
    """``views`` by container id, with a warning for each label of a routed container that has no effect here."""
    return {id: _noted(view, version) for id, view in views.items()}


def _noted(view: View, version: Version) -> View:
    warnings = dict.fromkeys(
        f"label {_label(view, route.name, setting)}: {text}"
        for route in view.facts.labels.routes
        for setting, text in unsupported(route.options, version).items()
    )
    return replace(view, warnings=(*view.warnings, *warnings)) if warnings else view


def _label(view: View, route: str, setting: str) -> str:
    """The label that says it for ``route``: its own, else the one for all."""
    own = f"{view.facts.prefix}.{route}.{setting}"
    return own if own in view.facts.container.labels else f"{view.facts.prefix}.{setting}"
