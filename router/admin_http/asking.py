"""What all who ask an admin by HTTP do alike: they show their token, and say why there is no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Seconds for an answer, and for the next line of a stream, where a sign of life comes every 15 s.
ANSWER_TIMEOUT: Final = 10.0
STREAM_TIMEOUT: Final = 45.0


def bearer(token_file: str | None) -> dict[str, str]:
    """The header with the token in ``token_file``, which is read each time, as it may be replaced.

    Raises ``OSError`` and ``UnicodeDecodeError`` of reading it.
    """
    return {} if token_file is None else {"Authorization": f"Bearer {Path(token_file).read_text().strip()}"}


def reason_of(error: Exception) -> str:
    """Why asking failed, for people: the text of the system's error without its number."""
    text = str(error)
    if text == "All connection attempts failed":
        # httpx says so of every connect that was refused.
        return "nothing listens there"
    return text.partition("] ")[2] or text or type(error).__name__
