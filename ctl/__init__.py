"""fastroute-ctl: one file per verb.  And :func:`announce`, for use inside an application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastroute.router.sidecar.library import BackgroundAnnouncement


def announce(
    key: str | Sequence[str],
    address: str,
    router: str | Sequence[str] = "127.0.0.1:3031",
    *,
    weight: int = 1,
    backup: int = 0,
    algorithm: str | None = None,
    modifier1: int = 0,
    modifier2: int = 0,
    protocol: str = "uwsgi",
    wait: float | None = None,
    tls: str | None = None,
    hsts: int = 0,
    sticky: str | None = None,
    eject: str | None = None,
    mount: str | None = None,
    max: int = 0,
    ramp: float = 0.0,
    zone: str | None = None,
    probe: str = "tcp",
    grace: float = 5.0,
    drain_timeout: float = 30.0,
    subscription_secret_file: str | None = None,
    sign: str | None = None,
    before_sigterm: bool = False,
) -> BackgroundAnnouncement:
    """Announce this process to routers, from a thread in the background: as ``fastroute-ctl announce`` does it.

    Use it with ``with`` or ``async with``, or call its ``start()`` and ``close()``; closing withdraws the worker and
    waits until no request is in flight there.  The arguments are the options of the command
    (``docs/reference/announce.md``); ``ValueError`` when one is wrong.  ``before_sigterm``: when SIGTERM comes,
    withdraw first, and let the process see it then (only from the main thread, after the server has set its own
    handler).
    """
    from fastroute.router.sidecar.library import BackgroundAnnouncement, settings_of

    given: dict[str, object] = {
        "router": router, "key": key, "address": address, "weight": weight, "backup": backup, "algorithm": algorithm,
        "modifier1": modifier1, "modifier2": modifier2, "protocol": protocol, "wait": wait, "max": max,
        "tls": tls, "hsts": hsts, "sticky": sticky, "eject": eject, "mount": mount, "ramp": ramp, "zone": zone,
        "probe": probe, "grace": grace, "drain-timeout": drain_timeout,
        "subscription-secret-file": subscription_secret_file, "sign": sign,
    }  # fmt: skip
    return BackgroundAnnouncement(settings_of(given), before_sigterm=before_sigterm)
