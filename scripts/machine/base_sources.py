"""Rewrite this machine's Debian mirrors for another suite: standard input to standard output.

Reads `apt-get indextargets`, which has read both formats of source lists and knows from the signed Release files
what is Debian's own (a third party's repository may well be called "debian bookworm main").  Writes deb822.  Keys: a
source keeps its `Signed-By` file, which is looked up where indextargets says that the source is written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: Label in the Release file -> is it part of a base system? Backports and proposed updates are not.
BASE_LABELS = ("Debian", "Debian-Security")
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields of each paragraph of ``text``; continuation lines are joined with a blank."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                fields[name] += " " + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields:
            yield fields


def suite_for(codename: str, suite: str) -> str | None:
    """``bookworm-security`` becomes ``trixie-security``; None for what a base system does without."""
    _, _, kind = codename.partition("-")
    if kind not in ("", "updates", "security"):
        return None
    return f"{suite}-{kind}" if kind else suite


def signed_by(entry: str) -> str | None:
    """The key file named by the source at ``FILE:N`` (line N, or stanza N of a .sources file)."""
    name, _, number = entry.rpartition(":")
    try:
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        if name.endswith(".sources"):
            value = list(stanzas(text))[int(number) - 1].get("signed-by", "").strip()
        else:
            match = re.search(r"\bsigned-by=(\S+?)[\s\]]", text.splitlines()[int(number) - 1])
            value = match.group(1) if match else ""
    except (OSError, ValueError, IndexError):
        return None
    return value if value.startswith("/") and " " not in value and "," not in value else None


def rewrite(targets: str, suite: str) -> list[tuple[str, str, str]]:
    """(mirror, suite, key file) for each of Debian's own sources, in their order, each once."""
    found: list[tuple[str, str, str]] = []
    for target in stanzas(targets):
        if target.get("origin") != "Debian" or target.get("label") not in BASE_LABELS:
            continue
        mirror = target.get("repo-uri", "")
        wanted = suite_for(target.get("codename", ""), suite)
        if wanted is None or not mirror.startswith(("http://", "https://")):
            continue
        row = (mirror, wanted, signed_by(target.get("sourcesentry", "")) or DEBIAN_KEYRING)
        if row not in found:
            found.append(row)
    return found


def render(rows: list[tuple[str, str, str]]) -> str:
    """The rows as a deb822 file."""
    form = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n"
    return "\n".join(form.format(*row) for row in rows)


if __name__ == "__main__":
    sources = rewrite(sys.stdin.read(), sys.argv[1])
    if not any(suite == sys.argv[1] for _, suite, _ in sources):
        sys.exit("no mirror of Debian among the apt sources")
    sys.stdout.write(render(sources))
