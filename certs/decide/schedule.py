"""What is due for each host, and when; and what an attempt's end does to the records.  Pure.

The rules, all of them kept through restarts:

* An attempt is written down before it begins.  One that our own end cut off goes on at once the first time, and counts
  as failed after that, so that a program that is restarted in circles does not ask in circles.
* A failed attempt of a host backs off from 1 minute, doubling, to 24 hours; one that never reached the CA (the host
  does not come here) to 1 hour.
* The CA does not answer, or says that we ask too much: nothing is asked for any host until it is over, at the earliest
  at its ``Retry-After``.  Then one host goes first.  A limit that names a domain holds that domain only.
* A certificate is renewed when the CA says so (ARI), else when a third of its life is left.
* A time that lies ahead of a clock that was set back is counted anew from now.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from fastroute.certs.decide.records import CaRecord, HostRecord, shorten
from fastroute.router.runtime.backoff import doubled

MIN_BACKOFF, MAX_BACKOFF, MAX_SELF_CHECK_BACKOFF = 60.0, 86_400.0, 3_600.0
#: A delay is drawn from this much more than it is, but never over its maximum.
JITTER = 1.25
#: A CA that limits us without saying for how long; and the longest that is believed of one that does.
DEFAULT_HOLD, MAX_HOLD = 900.0, 8 * 86_400.0
#: Attempts that may be cut off in a row until that counts as a failure.
MAX_INTERRUPTIONS = 1
#: Part of a certificate's life that is left when it is renewed; that may be left at the latest, whatever the CA says.
RENEWAL_SHARE, LATEST_SHARE = 1 / 3, 1 / 10
#: Part of the life by which hosts are spread, so that those that came together are not renewed together.
SPREAD_SHARE = 1 / 20
#: Before so much of its life is over, a certificate is renewed at the CA's word so often in a row and no more.
EARLY_SHARE, MAX_EARLY = 1 / 6, 2
#: Seconds between questions to the CA when to renew, at least (less for a certificate that lives for days) and at most.
MIN_INFO_INTERVAL, MAX_INFO_INTERVAL = 3_600.0, 86_400.0
#: Seconds after which a host that nobody names is not renewed, its self-signed certificate removed, and a CA's
#: certificate removed once it has expired.
UNWANTED_RENEWAL, UNWANTED_REMOVAL = 86_400.0, 7 * 86_400.0

Draw = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is served, as far as deciding needs it."""

    not_before: float
    not_after: float
    issuer: str
    serial: str
    self_signed: bool
    #: Somebody else put it there: it is left alone.
    foreign: bool = False

    @property
    def life(self) -> float:
        """From its first second to its last."""
        return max(self.not_after - self.not_before, 0.0)

    def valid(self, now: float) -> bool:
        """Whether browsers take it: a CA signed it, and it has not expired."""
        return not self.self_signed and self.not_after > now


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done for a host now."""

    host: str
    #: ``order``: get a certificate; ``info``: ask the CA when to renew.
    action: str


# When something is due


def renewal_time(record: HostRecord, certificate: Certificate) -> float:
    """When ``certificate`` is to be renewed."""
    life = certificate.life
    spread = zlib.crc32(record.host.encode()) / 2**32 * SPREAD_SHARE * life
    by_life = certificate.not_after - RENEWAL_SHARE * life - spread
    if record.serial != certificate.serial or not record.renew_at:
        return by_life
    by_ca = min(record.renew_at, certificate.not_after - LATEST_SHARE * life)
    if record.early >= MAX_EARLY:
        return max(by_ca, certificate.not_before + EARLY_SHARE * life)
    return by_ca


def order_time(record: HostRecord, certificate: Certificate | None, directory: str) -> float:
    """When a certificate is to be asked for; infinite for one that is not ours to replace."""
    if certificate is not None and certificate.foreign:
        return float("inf")
    due = 0.0
    # One of another CA is replaced at once: somebody changed from a CA for tests to the real one.
    if certificate is not None and not certificate.self_signed and record.directory == directory:
        due = renewal_time(record, certificate)
    return max(due, record.next_attempt)


def info_time(record: HostRecord, certificate: Certificate | None, directory: str) -> float:
    """When the CA is to be asked when to renew."""
    if certificate is None or certificate.self_signed or certificate.foreign or record.directory != directory:
        return float("inf")
    return record.renewal_info_at if record.serial == certificate.serial else 0.0


def held_until(host: str, ca: CaRecord) -> float:
    """Until when nothing may be asked for ``host``."""
    name = host.removeprefix("*.")
    limits = (until for domain, (_, until) in ca.domains.items() if name == domain or name.endswith(f".{domain}"))
    return max([ca.held_until, *limits])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to begin now, and when to look again."""

    due: list[Due]
    next_time: float


def plan(
    records: Iterable[HostRecord], certificates: Mapping[str, Certificate], ca: CaRecord, busy: set[str], slots: int,
    now: float,
) -> Plan:  # fmt: skip
    """What is due among ``records`` (of hosts that may be asked for), at most ``slots``; those in ``busy`` are under
    way.  Who has no certificate of a CA goes first, then who waits longest."""
    ready: list[tuple[bool, float, str, str]] = []
    later = float("inf")
    for record in records:
        certificate = certificates.get(record.host)
        if record.host in busy:
            continue
        times = {
            "order": max(order_time(record, certificate, ca.directory), held_until(record.host, ca)),
            "info": max(info_time(record, certificate, ca.directory), held_until(record.host, ca)),
        }
        action = "order" if times["order"] <= now else "info"
        if times[action] <= now:
            covered = certificate is not None and certificate.valid(now)
            ready.append((covered, record.attempted_at, record.host, action))
        else:
            later = min(later, *times.values())
    # After a failure of the CA one host tries it, not all.
    free = min(slots, 1 - len(busy)) if ca.failures else slots
    return Plan([Due(host, action) for _, _, host, action in sorted(ready)[: max(free, 0)]], later)


def renewable(record: HostRecord, now: float) -> bool:
    """Whether somebody has named the host lately."""
    return now - record.wanted_at < UNWANTED_RENEWAL


def removable(record: HostRecord, certificate: Certificate | None, now: float) -> bool:
    """Whether nobody misses the host's folder."""
    unwanted = now - record.wanted_at
    if certificate is None:
        return unwanted >= UNWANTED_REMOVAL
    if certificate.foreign:
        return False
    if certificate.self_signed:
        return unwanted >= UNWANTED_RENEWAL
    return unwanted >= UNWANTED_REMOVAL and now >= certificate.not_after + UNWANTED_REMOVAL


# What happened


def begun(record: HostRecord, now: float) -> HostRecord:
    """An attempt begins."""
    return replace(record, asking=True, attempted_at=now)


def issued(
    record: HostRecord, certificate: Certificate, previous: Certificate | None, directory: str, now: float
) -> HostRecord:
    """The attempt brought ``certificate`` in the place of ``previous``."""
    early = previous is not None and previous.serial == record.serial and bool(record.renew_at)
    early = early and previous is not None and now < previous.not_before + EARLY_SHARE * previous.life
    return HostRecord(
        record.host, wanted_at=record.wanted_at, attempted_at=record.attempted_at, directory=directory,
        serial=certificate.serial, early=record.early + 1 if early else 0,
    )  # fmt: skip


def failed(
    record: HostRecord, reason: str, now: float, draw: Draw, *, retry_after: float = 0.0, asked: bool = True
) -> HostRecord:
    """The attempt failed because of the host; ``asked``: the CA was asked."""
    failures = record.failures + 1
    longest = MAX_BACKOFF if asked else MAX_SELF_CHECK_BACKOFF
    delay = max(_delay(failures, longest, draw), min(retry_after, MAX_HOLD))
    return replace(
        record, asking=False, interruptions=0, failures=failures, next_attempt=now + delay, attempted_at=now,
        reason=shorten(reason),
    )  # fmt: skip


def put_off(record: HostRecord, reason: str) -> HostRecord:
    """The attempt ended without a result that says anything about the host: the CA's record says when it goes on."""
    return replace(record, asking=False, interruptions=0, reason=shorten(reason))


def recovered(record: HostRecord, now: float, draw: Draw) -> HostRecord:
    """``record`` as a new life of the program takes it up; one that was ended politely was cut off all the same."""
    if not record.asking:
        return record
    if record.interruptions < MAX_INTERRUPTIONS:
        return replace(record, asking=False, interruptions=record.interruptions + 1, next_attempt=now)
    reason = "the program was ended in the middle of it, several times in a row"
    return replace(failed(record, reason, now, draw), interruptions=record.interruptions + 1)


def ca_answered(ca: CaRecord, now: float) -> CaRecord:
    """The CA did what it was asked for, or refused it for a good reason.  A limit stays in force all the same."""
    if not ca.failures or ca.held_until > now:
        return ca
    return replace(ca, failures=0, failed_at=0.0, held_until=0.0, reason="")


def ca_failed(ca: CaRecord, reason: str, now: float, draw: Draw, *, retry_after: float = 0.0) -> CaRecord:
    """The CA did not answer, or answered what can't be read."""
    if ca.held_until > now:
        # One of several that were under way at once: the CA has failed once.
        return replace(ca, held_until=max(ca.held_until, now + min(retry_after, MAX_HOLD)))
    failures = ca.failures + 1
    delay = max(_delay(failures, MAX_BACKOFF, draw), min(retry_after, MAX_HOLD))
    return replace(ca, failures=failures, failed_at=now, held_until=now + delay, reason=shorten(reason))


def limited(ca: CaRecord, reason: str, now: float, *, retry_after: float = 0.0, domain: str = "") -> CaRecord:
    """The CA says that we ask too much, under ``domain`` (empty: in all)."""
    delay = min(max(retry_after, 1.0), MAX_HOLD) if retry_after else DEFAULT_HOLD
    if domain:
        live = {name: span for name, span in ca.domains.items() if span[1] > now}
        return replace(ca, domains={**live, domain: (now, now + delay)})
    until = max(ca.held_until, now + delay)
    return replace(ca, failures=max(ca.failures, 1), failed_at=now, held_until=until, reason=shorten(reason))


def renewal_info(
    record: HostRecord, certificate: Certificate, renew_at: float | None, ask_again: float, now: float
) -> HostRecord:
    """The CA said when it wants ``certificate`` renewed (None: it has no such word), and when to ask again."""
    shortest = min(MIN_INFO_INTERVAL, certificate.life / 20)
    delay = min(max(ask_again - now, shortest), MAX_INFO_INTERVAL)
    return replace(record, serial=certificate.serial, renew_at=renew_at or 0.0, renewal_info_at=now + delay)


# A clock that was set back


def rebased(record: HostRecord, now: float) -> HostRecord:
    """``record`` with what lies ahead of a clock that was set back counted from now."""
    if max(record.attempted_at, record.wanted_at) <= now and record.renewal_info_at <= now + MAX_INFO_INTERVAL:
        return record
    wait = max(record.next_attempt - record.attempted_at, 0.0) if record.attempted_at > now else 0.0
    return replace(
        record,
        attempted_at=min(record.attempted_at, now),
        wanted_at=min(record.wanted_at, now),
        next_attempt=now + wait if record.attempted_at > now else record.next_attempt,
        renewal_info_at=min(record.renewal_info_at, now + MAX_INFO_INTERVAL),
    )


def rebased_ca(ca: CaRecord, now: float) -> CaRecord:
    """The same for the CA's record."""
    domains = {name: (min(began, now), until - max(began - now, 0.0)) for name, (began, until) in ca.domains.items()}
    if ca.failed_at > now:
        return replace(ca, failed_at=now, held_until=now + max(ca.held_until - ca.failed_at, 0.0), domains=domains)
    return replace(ca, domains=domains) if domains != ca.domains else ca


def _delay(failures: int, longest: float, draw: Draw) -> float:
    return min(doubled(MIN_BACKOFF, longest, failures - 1) * draw(1.0, JITTER), longest)
