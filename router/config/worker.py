"""Workers that the router runs itself, however they were written.  Standard library only, as ``settings.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastroute.router.protocol.node_options import DEFAULT, NodeOptions

#: How uWSGI's options for a socket of its workers are called.
SOCKET_OPTIONS = ("socket", "uwsgi-socket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A key of a uWSGI that we run."""

    key: str
    #: The number of the socket that serves it, while ``address`` is empty.
    socket: int = 0
    #: As it was written.
    address: str = ""
    options: NodeOptions = DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Workers that are alike: ``count`` processes of one command, each a node of every ``key``."""

    name: str
    key: tuple[str, ...] = ()
    #: ``{port}`` in it is replaced; for a worker from a uWSGI INI, uWSGI itself.
    command: str
    cwd: str
    count: int = 1
    #: Added to the router's own.
    environment: tuple[tuple[str, str], ...] = ()
    options: NodeOptions = DEFAULT
    #: ``tcp``, ``none`` or the path of a GET.
    probe: str = "tcp"
    #: ``always``, ``on-failure`` or ``never``.
    restart: str = "always"
    #: Where the entry begins, for messages.
    at: str = ""
    #: From a uWSGI INI: the options of uWSGI itself.
    uwsgi_options: tuple[tuple[str, str], ...] = ()
    #: From a uWSGI INI: the keys, in place of ``key``.
    subscribed: tuple[Subscribed, ...] = ()

    @property
    def keys(self) -> dict[str, NodeOptions]:
        """All keys, and what is said of each."""
        return dict.fromkeys(self.key, self.options) | {part.key: part.options for part in self.subscribed}


def from_plain(plain: Mapping[str, Any]) -> WorkerSettings:
    """The worker that ``dataclasses.asdict`` made of one, after its way through JSON."""
    pairs = {name: tuple((key, value) for key, value in plain[name]) for name in ("environment", "uwsgi_options")}
    subscribed = tuple(
        Subscribed(**{**fields, "options": NodeOptions(**fields["options"])}) for fields in plain["subscribed"]
    )
    options = NodeOptions(**plain["options"])
    more = {"key": tuple(plain["key"]), "subscribed": subscribed, "options": options}
    return WorkerSettings(**{**plain, **pairs, **more})
