"""Workers that the router runs itself, however they were written.  Standard library only, as ``settings.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastroute.router.node_options import DEFAULT, NodeOptions

#: How uWSGI's options for a socket of its workers are called.
SOCKET_OPTIONS = ("socket", "uwsgi-socket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A key of a uWSGI that we run; ``address`` as written, or empty: its socket number ``socket``."""

    key: str
    socket: int = 0
    address: str = ""
    options: NodeOptions = DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One entry: ``count`` processes of ``command`` (``{port}`` is replaced), each a node of every ``key``.

    ``environment`` is added to the router's own; ``probe`` is ``tcp``, ``none`` or a path; ``at`` is where the entry
    begins, for messages.  From a uWSGI INI: ``uwsgi_options`` are those of uWSGI itself, which is the ``command``, and
    ``subscribed`` stands in place of ``key``.
    """

    name: str
    key: tuple[str, ...] = ()
    command: str
    cwd: str
    count: int = 1
    environment: tuple[tuple[str, str], ...] = ()
    options: NodeOptions = DEFAULT
    probe: str = "tcp"
    restart: str = "always"
    at: str = ""
    uwsgi_options: tuple[tuple[str, str], ...] = ()
    subscribed: tuple[Subscribed, ...] = ()


def from_plain(plain: Mapping[str, Any]) -> WorkerSettings:
    """The worker that ``dataclasses.asdict`` made of one, after its way through JSON."""
    pairs = {name: tuple((key, value) for key, value in plain[name]) for name in ("environment", "uwsgi_options")}
    subscribed = tuple(
        Subscribed(**{**fields, "options": NodeOptions(**fields["options"])}) for fields in plain["subscribed"]
    )
    options = NodeOptions(**plain["options"])
    more = {"key": tuple(plain["key"]), "subscribed": subscribed, "options": options}
    return WorkerSettings(**{**plain, **pairs, **more})
