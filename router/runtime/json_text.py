"""JSON that somebody else wrote: whatever is wrong with it is a ``ValueError``.  Pure; standard library only."""

from __future__ import annotations

import json
from typing import Any


def read_json(data: bytes | str) -> Any:
    """The value in ``data``.  The standard library raises ``RecursionError`` for thousands of brackets, which those
    who expect bad JSON do not catch."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("no JSON that is read here: nested too deeply") from None
