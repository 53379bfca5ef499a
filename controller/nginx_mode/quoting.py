"""What may stand in a configuration of nginx, and how it is written.  Pure; the filters of the templates.

nginx knows no escape for ``$`` in a value, and control characters have no business there: both are refused, not
repaired.  Everything that is not ours to choose (labels, names, reasons) goes through one of these.
"""

from __future__ import annotations

#: nginx reads its files with a buffer of 4 KiB: one parameter must fit (``NGX_CONF_BUFFER``).
_MAX_PARAMETER = 4000
_MAX_COMMENT = 300


class Unquotable(ValueError):
    """nginx could misread the value; the message says what is in it."""


def quoted(value: object) -> str:
    """``value`` as one parameter of a directive, in quotes."""
    text = str(value)
    if len(text.encode("utf-8", "surrogatepass")) > _MAX_PARAMETER:
        raise Unquotable(f"{text[:40]!r}... is longer than {_MAX_PARAMETER} bytes")
    for character in text:
        if character == "$" or not (character.isprintable() and character.isascii()):
            raise Unquotable(f"{text[:80]!r} has {character!r} in it, which nginx can't take as plain text")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def comment(value: object) -> str:
    """``value`` as the rest of a comment: one line, printable, of bounded length."""
    text = str(value)[:_MAX_COMMENT]
    return "".join(character if character.isprintable() else "?" for character in text)
