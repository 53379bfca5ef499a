"""How an attempt at the CA ends, and which end an error of the CA means.  Pure."""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass

#: Errors of RFC 8555 that are about one order, by the last part of their type.
_ABOUT_THE_HOST = frozenset({
    "badCSR", "badSignatureAlgorithm", "caa", "compound", "connection", "dns", "dnssec", "incorrectResponse",
    "malformed", "orderNotReady", "rejectedIdentifier", "tls", "unauthorized", "unknownHost", "unsupportedIdentifier",
})  # fmt: skip
_QUOTED_DOMAIN = re.compile(r"""["'“]((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)+)["'”]""")
_BIGGEST_DELAY = 366 * 86_400.0


class CaTrouble(Exception):
    """The CA does not answer, or not what can be understood.  ``retry_after``: seconds; 0: none."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class CaRefusal(Exception):
    """The CA refuses this host.  ``retry_after``: seconds; 0: none."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class CaLimit(Exception):
    """The CA says that we ask too much, under ``domain`` (empty: in all).  ``retry_after``: seconds; 0: none."""

    def __init__(self, text: str, retry_after: float = 0.0, domain: str = "") -> None:
        super().__init__(text)
        self.retry_after, self.domain = retry_after, domain


class NoAccount(Exception):
    """The CA does not know our account (any more)."""


@dataclass(frozen=True, slots=True)
class CaProblem:
    """What a CA's error says: the last part of its type, and its text."""

    code: str
    text: str


def failure_of(problem: CaProblem, host: str, retry_after: float) -> Exception:
    """The exception that the CA's ``problem`` with ``host`` is for us."""
    text = f"the CA says: {problem.text or problem.code or 'an error without a text'}"
    if problem.code == "rateLimited":
        return CaLimit(text, retry_after, limited_domain(problem.text, host))
    if problem.code == "accountDoesNotExist":
        return NoAccount(text)
    if problem.code in _ABOUT_THE_HOST:
        return CaRefusal(text, retry_after)
    return CaTrouble(text, retry_after)


def limited_domain(text: str, host: str) -> str:
    """The domain that a limit's ``text`` names, if it is that of ``host`` or above it; empty: it names none.

    Let's Encrypt: ``too many certificates (50) already issued for "example.com" in the last 168h0m0s``.
    """
    name = host.removeprefix("*.")
    lower = text.lower()
    for match in _QUOTED_DOMAIN.finditer(lower):
        domain = str(match[1]).removeprefix("*.")
        if name == domain or name.endswith(f".{domain}"):
            return domain
    return name if "exact set of" in lower else ""


def seconds_of(header: str, now: float) -> float:
    """The seconds that a ``Retry-After`` means (RFC 9110, 10.2.3); 0: it means nothing."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _BIGGEST_DELAY)
    try:
        when = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(when - now, 0.0), _BIGGEST_DELAY)
