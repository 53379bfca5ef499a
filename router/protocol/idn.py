"""Host names beyond ASCII: as the wire and clients write them (``xn--bcher-kva.test``), and as people do.  Pure.

IDNA 2008 with the mapping of UTS 46, which is what browsers do with what is typed: upper case, full-width letters and
the dots of other scripts are mapped first.  The library is imported when such a name is met, and only then: relays and
``announce`` import the standard library alone, and nearly every name is ASCII.
"""

from __future__ import annotations

#: Longer ones are no key either; the mapping takes its time for each character.
MAX_HOST = 255
_ACE = "xn--"


class NotAHost(ValueError):
    """The name is none by IDNA 2008; the message says which part, and why."""


def to_ascii(host: str) -> str:
    """``host`` with each label that is not ASCII as its A-label (``xn--...``); ``NotAHost`` when it has none."""
    if host.isascii():
        return host
    if len(host) > MAX_HOST:
        raise NotAHost(f"a host name has at most {MAX_HOST} characters")
    import idna

    try:
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        # Label by label: what is ASCII stays as it was written, so that a name like _dmarc.bücher.test is one.
        return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels)
    except (idna.IDNAError, UnicodeError) as error:
        raise NotAHost(f"not a host name by IDNA 2008 ({error})") from None


def to_unicode(host: str) -> str:
    """``host`` as people write it; labels that only look like A-labels stay as they are."""
    return ".".join(_u_label(label) if label.startswith(_ACE) else label for label in host.split("."))


def _u_label(label: str) -> str:
    import idna

    try:
        name: str = idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label
    return name
