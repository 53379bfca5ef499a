"""A JSON answer in ASCII: whoever looks at it with curl has a terminal, which obeys C1 controls and marks of direction.

Starlette's own leaves them as they are; the pieces that :mod:`.status` writes by itself are ASCII, too.
"""

from __future__ import annotations

import json
from typing import Any

from starlette import responses


class JSONResponse(responses.JSONResponse):
    """As starlette's, with every character beyond ASCII escaped."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
