"""Which of a few media types a client wants, by its Accept header: as much of RFC 9110 as our own answers need.  Pure.

Only a type that the header names counts, and not a range like ``*/*``: scripts send that, and they get text.  The
highest ``q`` wins; of equal ones, the one that is named first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: Bytes and types of a header that are looked at.
MAX_ACCEPT: Final = 1_024
MAX_TYPES: Final = 32
_WEIGHT: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)
_WEIGHT_NAME: Final = re.compile(r"[ \t]*q=", re.IGNORECASE)


def preferred(accept: bytes, offers: Sequence[str]) -> str:
    """The one of ``offers`` (media types in lower case) that ``accept`` asks for; empty: it asks for none of them."""
    ranges = accept[:MAX_ACCEPT].decode("latin-1").split(",", MAX_TYPES)
    if len(accept) > MAX_ACCEPT or len(ranges) > MAX_TYPES:
        # What is cut off may be the weight of this one.
        ranges.pop()
    best, best_weight = "", 0.0
    for media_range in ranges:
        media_type, *parameters = media_range.split(";")
        name = media_type.strip(" \t").lower()
        if name in offers:
            weight = _weight(parameters)
            if weight > best_weight:
                best, best_weight = name, weight
    return best


def _weight(parameters: Sequence[str]) -> float:
    """The ``q`` among ``parameters``: 1 where there is none, 0 where it is no weight."""
    for parameter in parameters:
        if _WEIGHT_NAME.match(parameter):
            match = _WEIGHT.fullmatch(parameter)
            return float(match[1]) if match is not None else 0.0
    return 1.0
