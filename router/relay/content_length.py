"""What counts as a length of a body, whoever says it: clients, nginx or workers.  Pure."""

from __future__ import annotations

from typing import Final

#: Digits, at most.
MAX_DIGITS: Final = 18


def is_length(value: bytes) -> bool:
    """Whether ``value`` is one of Content-Length."""
    return value.isdigit() and len(value) <= MAX_DIGITS
