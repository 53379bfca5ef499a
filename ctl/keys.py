"""One key as whoever serves it sees it: the router, or in nginx mode the controller, which knows what nginx serves."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastroute.ctl.api import Api
from fastroute.ctl.errors import NOT_THERE, Answered, CtlError, Unreachable
from fastroute.ctl.settings import CtlSettings
from fastroute.router.protocol.key import named_key


def key_row(settings: CtlSettings, key: str) -> dict[str, Any] | None:
    """The object of ``/v1/keys/KEY``; ``None`` when the key is not known."""
    try:
        return _asked(Api(settings, "router"), key)
    except Unreachable:
        if not is_nginx_mode(settings):
            raise
    return _asked(Api(settings, "controller"), key)


def is_nginx_mode(settings: CtlSettings) -> bool:
    """Whether a controller answers, and renders nginx."""
    try:
        return shows_nginx_mode(Api(settings, "controller").get("/v1/status").get("controller") or {})
    except CtlError:
        return False


def shows_nginx_mode(controller: dict[str, Any]) -> bool:
    """Whether the controller's block in a status says that it renders nginx."""
    return controller.get("mode") == "nginx" or "nginx" in (controller.get("sink") or {})


def _asked(api: Api, key: str) -> dict[str, Any] | None:
    """The answer under the name that people mean, else as it was given: a worker may have announced any bytes."""
    for name in dict.fromkeys((named_key(key), key)):
        try:
            return api.get("/v1/keys/" + quote(name, safe="/*:"))
        except Answered as error:
            if error.status not in NOT_THERE:
                raise
    return None
