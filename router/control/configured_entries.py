"""What the table has of the router's own configuration.  Pure."""

from __future__ import annotations

from fastroute.router.config.settings import Settings
from fastroute.router.protocol.entry import Entry


def configured_entries(settings: Settings) -> list[Entry]:
    """The nodes of ``--node``, and the keys of our own workers: requests wait for these from the beginning."""
    nodes = [Entry(node.key, str(node.address), node.options) for node in settings.node]
    keys = {key: options for worker in settings.workers for key, options in worker.keys.items()}
    return nodes + [Entry(key, options=options).for_key for key, options in keys.items()]
