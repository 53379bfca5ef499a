"""Text as docker compose reads it: variables filled in, ``.env`` and ``label_file``, numbers of YAML.  Pure.

``docker compose config`` is the oracle (tests/ctl/test_compose_oracle.py); what it refuses is a ``ComposeProblem``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(rf"\$(?:(\$)|({_NAME})|(\{{))")
_BRACED = re.compile(rf"({_NAME})(?:(:?[-?+])([^\n]*))?")
#: Defaults of defaults of ...
_DEEPEST = 50

_BLANKS = " \t\v\f\r\x85\xa0"
_KEY = re.compile(r"[\w.\-\[\]\s]*?(?=[=:\n]|\Z)")
_EXPORT = re.compile(r"export[^\S\n]+")
_ESCAPE = re.compile(r"\\([\s\S])")
_ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "$": "$$",
}

#: Longer ones are no numbers that a label could have.
_LONGEST_NUMBER = 40
_INTEGER = re.compile(r"([-+]?)(?:0x([0-9A-Fa-f_]+)|0b([01_]+)|0o?([0-7_]+)|([0-9][0-9_]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class ComposeProblem(ValueError):
    """Compose would refuse the text; the message says why.  ``line``: where in a file of variables."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


def interpolated(text: str, environ: Mapping[str, str], depth: int = 0) -> str:
    """``text`` with its variables filled in: ``$A``, ``${A}``, ``${A:-default}`` and the like, in defaults too."""
    if depth > _DEEPEST:
        raise ComposeProblem(f"variables in the defaults of variables, more than {_DEEPEST} levels deep")
    parts, at = [], 0
    while dollar := _DOLLAR.search(text, at):
        parts.append(text[at : dollar.start()])
        escaped, name, _ = dollar.groups()
        at = dollar.end()
        if escaped:
            parts.append("$")
        elif name:
            parts.append(environ.get(name, ""))
        else:
            end = _closing(text, at)
            parts.append(_braced(text[at:end], environ, depth))
            at = end + 1
    return "".join(parts) + text[at:]


def _closing(text: str, at: int) -> int:
    """Where the brace ends that was opened before ``at``; braces in between have their own."""
    depth = 1
    for brace in re.compile(r"[{}\n]").finditer(text, at):
        depth += {"{": 1, "}": -1, "\n": 0}[brace[0]]
        if brace[0] == "\n":
            break
        if not depth:
            return brace.start()
    # One that never ends is text like any other, as far as the last brace of the line.
    line = text[at:].partition("\n")[0]
    if "}" not in line:
        raise ComposeProblem(f"{'${' + line[:40]!r}: a '}}' is missing (a '$' that stands for itself is written '$$')")
    return at + line.rindex("}")


def _braced(inner: str, environ: Mapping[str, str], depth: int) -> str:
    match = _BRACED.fullmatch(inner)
    if match is None:
        text = f"{'${' + inner[:40] + '}'!r} is no variable: ${{NAME}} or ${{NAME:-default}} expected"
        raise ComposeProblem(f"{text} (a '$' that stands for itself is written '$$')")
    name, operator, rest = match.groups()
    value = environ.get(name)
    given = bool(value) if operator and operator[0] == ":" else value is not None
    if not operator:
        return value or ""
    if operator[-1] == "+":
        return interpolated(rest, environ, depth + 1) if given else ""
    if given:
        return value or ""
    if operator[-1] == "?":
        why = interpolated(rest, environ, depth + 1)
        raise ComposeProblem(f"required variable {name} is missing a value{': ' if why else ''}{why}")
    return interpolated(rest, environ, depth + 1)


def read_env_file(text: str, environ: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """The variables of a ``.env`` or ``label_file``, with their lines; a value may use ``environ`` and others."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    variables: dict[str, tuple[str, int]] = {}
    known = {**environ}
    at, line, counted = 0, 1, 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if at == len(text):
            return variables
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        if export := _EXPORT.match(text, at):
            at = export.end()
        key = _KEY.match(text, at)
        name = key[0].strip() if key else ""
        if key is None or re.search(r"\s", name):
            wrong = text[at : _line_end(text, at)][:80]
            raise ComposeProblem(f"{wrong!r}: NAME=VALUE expected", line)
        at = key.end()
        if at == len(text) or text[at] == "\n":
            # A name alone is a variable of the environment; a label has none.
            continue
        try:
            value, at = _value(text, at + 1, known)
        except ComposeProblem as problem:
            raise ComposeProblem(str(problem), line) from None
        variables[name] = value, line
        known[name] = value


def _value(text: str, at: int, environ: Mapping[str, str]) -> tuple[str, int]:
    """The value that begins at ``at``, and where the rest of the file goes on."""
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        end = _line_end(text, at)
        return interpolated(text[at:end].partition(" #")[0].rstrip(), environ), end
    end = at + 1
    while end < len(text) and text[end] != quote:
        end += 2 if text[end] == "\\" and text[end + 1 : end + 2] == quote else 1
    if end >= len(text):
        raise ComposeProblem(f"the value {text[at : at + 40]!r} has no closing quote")
    inner = text[at + 1 : end]
    if quote == "'":
        return inner.replace("\\'", "'"), end + 1
    return interpolated(_ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), inner), environ), end + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def plain_scalar(text: str) -> str:
    """What YAML has without quotes, as compose writes it into a label: ``0x1F`` is 31, ``1.0`` is 1, ``True`` true."""
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower()
    if len(text) > _LONGEST_NUMBER:
        return text
    if number := _INTEGER.fullmatch(text):
        sign, *digits = number.groups()
        for base, literal in zip((16, 2, 8, 10), digits, strict=True):
            if literal is not None and literal.strip("_"):
                return f"{sign if sign == '-' else ''}{int(literal.replace('_', ''), base)}"
    if _FLOAT.fullmatch(text):
        value = float(text)
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return text
