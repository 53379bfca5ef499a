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
    record: HostRecord, certificate: Certificate | None, *, busy: bool, refusal: str, held: str, due: float, now: float
) -> HostView:
    """What is to be seen of one host.

    * ``busy``: an attempt is under way.
    * ``refusal``: why no CA is asked for it; ``held``: why none is asked for anything now.  Or empty.
    * ``due``: when it is to be asked for.
    """
    reason = refusal or record.reason or held
    valid = certificate is not None and not certificate.self_signed and certificate.not_after > now
    state = "self-signed"
    if valid:
        state = "renewing" if not refusal and (busy or due <= now or record.failures) else "valid"
    elif not refusal and busy and not record.failures:
        state = "asking"
    elif not refusal and record.reason:
        state = "failed"
    elif not refusal:
        state = "asking"
    elif certificate is not None and not certificate.self_signed:
        state, reason = "failed", f"it has expired; {refusal}"
    if certificate is None:
        state, reason = "failed", reason or "no certificate could be written yet"
    elif certificate.foreign:
        reason = "not ours: it was put there by somebody else and is left alone"
        state = "valid" if certificate.not_after > now else "failed"
    next_time = due if due != float("inf") and not refusal else None
    expires, issuer = (certificate.not_after, certificate.issuer) if certificate else (None, "")
    if certificate is not None and certificate.self_signed:
        issuer = "self-signed"
    return HostView(record.host, state, expires, issuer, reason, next_time)


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
