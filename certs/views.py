"""What people see of hosts and their certificates: the object of ``/v1/certificates``.  Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastroute.certs.decide.records import HostRecord
from fastroute.certs.decide.schedule import Certificate

SCHEMA = "fastroute.certificates/v1"
STATES = ("self-signed", "asking", "valid", "renewing", "failed")


@dataclass(frozen=True, slots=True)
class HostView:
    """One host."""

    host: str
    state: str
    #: Seconds since the epoch; None: there is no certificate.
    expires: float | None
    issuer: str
    reason: str
    #: When something is due for it; None: nothing is.
    next: float | None

    def to_json(self) -> dict[str, Any]:
        """As ``/v1/certificates`` shows it."""
        return {
            "host": self.host,
            "state": self.state,
            "expires": iso(self.expires),
            "issuer": self.issuer,
            "reason": self.reason,
            "next": iso(self.next),
        }


def host_view(
    record: HostRecord, certificate: Certificate | None, *, refusal: str, problem: str, due: float, now: float
) -> HostView:
    """What is to be seen of one host.

    * ``refusal``: why no CA is asked for it; ``problem``: why nothing can be done now.  Or empty.
    * ``due``: when it is to be asked for.
    """
    reason = refusal or record.reason or problem
    state = _state(record, certificate, refusal=refusal, due=due, now=now)
    if certificate is None:
        reason = problem or reason or "no certificate could be written yet"
    elif certificate.foreign:
        reason = "it was put there by somebody else, so it is left alone"
    elif state == "failed" and refusal:
        reason = f"it has expired; {refusal}"
    next_time = due if due != float("inf") and not refusal else None
    issuer = ("self-signed" if certificate.self_signed else certificate.issuer) if certificate is not None else ""
    return HostView(record.host, state, certificate.not_after if certificate else None, issuer, reason, next_time)


def _state(record: HostRecord, certificate: Certificate | None, *, refusal: str, due: float, now: float) -> str:
    if certificate is None:
        return "failed"
    if certificate.valid(now):
        renewing = not certificate.foreign and not refusal and (record.asking or due <= now or record.reason)
        return "renewing" if renewing else "valid"
    if certificate.self_signed and (refusal or certificate.foreign):
        return "self-signed"
    if refusal or certificate.foreign:
        return "failed"
    return "failed" if record.reason else "asking"


def certificates(views: Iterable[HostView]) -> dict[str, Any]:
    """The object of ``/v1/certificates``."""
    return {"schema": SCHEMA, "certificates": [view.to_json() for view in sorted(views, key=lambda view: view.host)]}


def iso(seconds: float | None) -> str | None:
    """``seconds`` since the epoch in ISO 8601, UTC."""
    if seconds is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None
