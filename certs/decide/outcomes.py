"""How attempts end, and what follows from it for the records.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fastroute.certs.decide import schedule
from fastroute.certs.decide.records import CaRecord, HostRecord
from fastroute.certs.decide.schedule import Certificate, Draw
from fastroute.certs.views import iso


@dataclass(frozen=True, slots=True)
class Issued:
    """The CA's certificate is served."""

    host: str
    certificate: Certificate
    name = "issued"


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed because of the host; ``asked``: the CA had been asked."""

    host: str
    reason: str
    retry_after: float = 0.0
    asked: bool = True
    #: The order is of no use any more.
    order_over: bool = True
    name = "failed"


@dataclass(frozen=True, slots=True)
class CaFailed:
    """The CA did not answer, or not what can be understood."""

    host: str
    reason: str
    retry_after: float = 0.0
    name = "ca-failed"


@dataclass(frozen=True, slots=True)
class Limited:
    """The CA says that we ask too much, under ``domain`` (empty: in all)."""

    host: str
    reason: str
    retry_after: float = 0.0
    domain: str = ""
    name = "limited"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The program ends."""

    host: str
    name = "stopped"


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """When the CA wants the certificate renewed (None: it has no such word), and when to ask again.

    ``known``: it was asked; else it did not answer, and what it said before holds."""

    host: str
    renew_at: float | None
    ask_again: float
    known: bool = True
    name = "renewal-info"


Outcome = Issued | Failed | CaFailed | Limited | Stopped | RenewalInfo


@dataclass(frozen=True, slots=True)
class Applied:
    """The records after an outcome, and what is to be told: kind, text, host."""

    record: HostRecord
    ca: CaRecord
    events: list[tuple[str, str, str]] = field(default_factory=list)


def apply(
    outcome: Outcome, record: HostRecord, ca: CaRecord, certificate: Certificate | None, now: float, draw: Draw
) -> Applied:
    """What follows from ``outcome``; ``certificate`` is the one that was served until now."""
    host = record.host
    match outcome:
        case Issued():
            record = schedule.issued(record, outcome.certificate, certificate, ca.directory, now)
            text = f"certificate of {outcome.certificate.issuer}, valid until {iso(outcome.certificate.not_after)}"
            return Applied(record, schedule.ca_answered(ca, now), [("issued", text, host)])
        case Failed():
            return _failed(outcome, record, ca, now, draw)
        case CaFailed():
            after = schedule.ca_failed(ca, outcome.reason, now, draw, retry_after=outcome.retry_after)
            text = f"{outcome.reason}; no CA is asked before {iso(after.held_until)}"
            first = [("held", text, "")] if ca.held_until <= now else []
            return Applied(schedule.put_off(record, outcome.reason), after, first)
        case Limited():
            after = schedule.limited(ca, outcome.reason, now, retry_after=outcome.retry_after, domain=outcome.domain)
            until = iso(schedule.held_until(host, after))
            effect = f"nothing under {outcome.domain} is asked for" if outcome.domain else "no CA is asked"
            changed = [("held", f"{outcome.reason}; {effect} before {until}", host)] if after != ca else []
            return Applied(schedule.put_off(record, outcome.reason), after, changed)
        case Stopped():
            # The record still says that an attempt is under way: the next start goes on with it.
            return Applied(record, ca)
        case RenewalInfo():
            return _renewal_info(outcome, record, ca, certificate, now)


def _failed(outcome: Failed, record: HostRecord, ca: CaRecord, now: float, draw: Draw) -> Applied:
    after = schedule.failed(
        record, outcome.reason, now, draw, retry_after=outcome.retry_after, asked=outcome.asked
    )  # fmt: skip
    if outcome.order_over:
        after = replace(after, order="")
    text = f"{outcome.reason}; next attempt at {iso(after.next_attempt)}"
    ca = schedule.ca_answered(ca, now) if outcome.asked else ca
    return Applied(after, ca, [("failed", text, record.host)])


def _renewal_info(
    info: RenewalInfo, record: HostRecord, ca: CaRecord, certificate: Certificate | None, now: float
) -> Applied:
    if certificate is None:
        return Applied(record, ca)
    before = record.renew_at if record.serial == certificate.serial else 0.0
    renew_at = info.renew_at if info.known else before
    early = renew_at and renew_at <= now and not before
    events = [("renewal", "the CA wants it renewed now", record.host)] if early else []
    return Applied(schedule.renewal_info(record, certificate, renew_at, info.ask_again, now), ca, events)
