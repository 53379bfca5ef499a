"""What the options of a uWSGI INI mean for our router: its names on the left, ours on the right.  Pure.

Values are handed on as text with the place where they stand, so that the readers of ``options.py`` check them as they
check ours.  Where uWSGI and we mean different things by a name, uWSGI's meaning counts: ``fastrouter-buffer-size`` is
no limit there, and a fallback serves unknown keys only when asked to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fastroute.router.compat import uwsgi_single
from fastroute.router.config.configuration import ConfigurationError, Given, Text, did_you_mean, nearest, shown
from fastroute.router.config.uwsgi_ini import Line, read_lines
from fastroute.router.config.worker import WorkerSettings

#: Taken over as they are.  uWSGI's timer runs on both sides of a request, so it is two of ours.
_MEANS: dict[str, tuple[str, ...]] = {
    "fastrouter": ("listen",),
    "fastrouter-subscription-server": ("subscription-server",),
    "fastrouter-cheap": ("cheap",),
    "fastrouter-processes": ("processes",),
    "fastrouter-workers": ("processes",),
    "fastrouter-to": ("to",),
    "fastrouter-use-base": ("base",),
    "fastrouter-use-pattern": ("pattern",),
    "fastrouter-fallback": ("fallback",),
    "fastrouter-fallback-on-no-key": ("fallback-on-no-key",),
    "fastrouter-timeout": ("timeout", "client-timeout"),
    "fastrouter-stats": ("stats",),
    "fastrouter-stats-server": ("stats",),
    "fastrouter-ss": ("stats",),
    "fastrouter-resubscribe": ("resubscribe",),
    "fastrouter-post-buffering": ("post-buffering",),
    "subscription-tolerance": ("tolerance",),
    "subscription-algo": ("algorithm",),
    "subscription-mountpoint": ("mountpoints",),
    "subscription-mountpoints": ("mountpoints",),
    "subscription-dotsplit": ("dotsplit",),
    "subscriptions-sign-check": ("subscription-sign-check",),
    "vacuum": ("vacuum",),
    "uid": ("uid",),
    "gid": ("gid",),
    "pidfile": ("pidfile",),
    "logto": ("logto",),
}
_REPEATABLE = frozenset({"listen", "subscription-server", "to", "fallback", "stats", "resubscribe"})
_ADDRESSES = _REPEATABLE | {"base", "pattern"}
_SWITCHES = frozenset({"cheap", "fallback-on-no-key", "dotsplit", "vacuum"})

#: Say nothing to a router, or what it does anyway.
_IGNORED_NAMES = """
    auto-procname chmod-socket chown-socket die-on-term disable-logging listen log-date log-master logdate master
    no-orphans plugin plugin-dir plugins plugins-dir procname procname-prefix procname-prefix-spaced strict
    thunder-lock
"""
#: What makes a file one for router and workers: the options that nearly every worker has, and those of uWSGI whose
#: names are so near to one of these, or of ours, that they would be taken for a misspelt one.
_WORKER_NAMES = """
    buffer-size callable chdir chdir2 enable-threads env fastcgi-nph-socket fastcgi-socket harakiri home http
    http-socket http-use-socket http11-socket https https-socket https2 if-plugin ifplugin lazy-apps logto2
    manage-script-name max-requests module mount need-app pidfile2 processes puwsgi-socket python-path pythonpath
    scgi-nph-socket scgi-socket single-interpreter socket subscribe subscribe-to subscribe2 suwsgi-socket threads
    uwsgi-socket venv virtualenv weight workers wsgi wsgi-file
"""
_REFUSED = {
    "daemonize": "refused: run it under a supervisor (systemd, Docker) instead",
    "daemonize2": "refused: run it under a supervisor (systemd, Docker) instead",
}
#: Of a file for both: options that router and worker have to have.
_BOTH = frozenset({"vacuum"})
_OTHERS = frozenset({"shared-socket", "fastrouter-buffer-size", "ini", "set", "set-ph", "set-placeholder"})
_IGNORED = frozenset(_IGNORED_NAMES.split())
_KNOWN = frozenset(_MEANS) | _IGNORED | frozenset(_REFUSED) | _OTHERS
_WORKER = frozenset(_WORKER_NAMES.split())
_SHARED = re.compile(r"=(\d{1,4})")


def read_ini(
    text: str, file: str, environ: Mapping[str, str], load: Callable[[str], str]
) -> tuple[Given, tuple[WorkerSettings, ...]]:
    """What ``file`` says, in our options, and the worker in it.  ``load`` gives the text of an included file."""
    ini = read_lines(text, file, environ, load)
    options = [line for line in ini.lines if line.name not in ini.variables]
    worker_option = next((line for line in options if line.name in _WORKER), None)
    single = worker_option is not None and any(line.name.startswith("fastrouter") for line in options)
    shared = [line.value for line in ini.lines if line.name == "shared-socket"]
    given: dict[str, list[Text]] = {}
    for line in ini.lines:
        if line.name in _MEANS:
            for option in _MEANS[line.name]:
                texts = given.setdefault(option, [])
                if option not in _REPEATABLE:
                    texts.clear()
                texts.append(Text(_value(option, line, shared), f"{line.at}: {line.name}"))
        elif line.name not in ini.variables:
            _check_other(line, single)
    rest = [line for line in options if _is_workers(line)]
    workers = (uwsgi_single.worker(rest, worker_option, environ),) if single and worker_option else ()
    return _fill_in(given), workers


def _is_workers(line: Line) -> bool:
    """Whether it is an option of uWSGI itself, if the file is for both."""
    return line.name in _BOTH or (line.name not in _MEANS and line.name not in _OTHERS and line.name not in _REFUSED)


def _fill_in(given: dict[str, list[Text]]) -> Given:
    """What uWSGI does when an option is not there, where that is not what we do."""
    if "fallback" in given:
        given.setdefault("fallback-on-no-key", [Text("false", given["fallback"][0].origin)])
    if given.keys() & {"to", "base", "pattern"}:
        given.setdefault("subscription-server", [])
    if "subscription-sign-check" in given:
        # Then no sender is trusted without a signature.
        given.setdefault("subscription-allow", [])
    return given


def _value(option: str, line: Line, shared: list[str]) -> str:
    if option in _SWITCHES and not line.value:
        return "true"
    if option == "listen" and (match := _SHARED.fullmatch(line.value)):
        if int(match[1]) >= len(shared):
            raise ConfigurationError(f"{line.at}: {line.name}: {line.value}: this file has {len(shared)} shared-socket")
        return _address(shared[int(match[1])])
    return _address(line.value) if option in _ADDRESSES else line.value


def _address(text: str) -> str:
    """uWSGI takes whatever has no colon for a path, also a relative one."""
    return text if not text or ":" in text or text[0] in "/@." else f"./{text}"


def _check_other(line: Line, single: bool) -> None:
    """Refuse what has no meaning here, each kind with its own reason.  ``single``: a worker's option has one.

    uWSGI and its plugins have more options than we know: in a file for both, one that is near to none of ours is left
    to uWSGI, which refuses what it does not know itself (``strict``).
    """
    at = f"{line.at}: {line.name}"
    if line.name == "fastrouter-buffer-size" and not re.fullmatch(r"[0-9]{1,9}", line.value):
        raise ConfigurationError(f"{at}: {shown(line.value)}: a number of bytes expected")
    if line.name in _REFUSED:
        raise ConfigurationError(f"{at}: {_REFUSED[line.name]}")
    if line.name in _WORKER:
        if not single:
            raise ConfigurationError(f"{at}: a worker's option; with fastrouter = ADDR this file may be for both")
    elif line.name not in _KNOWN:
        close = nearest(line.name, _KNOWN | _WORKER, 0.85)
        if close or not single or line.name.startswith(("fastrouter", "subscription")):
            hint = f"; did you mean {close}?" if close else did_you_mean(line.name, _KNOWN)
            raise ConfigurationError(f"{line.at}: {shown(line.name)}: unknown option{hint}")
