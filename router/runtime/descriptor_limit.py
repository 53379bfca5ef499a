"""How many descriptors a process may have: programs that hold connections of others take all that the system allows.

Not the master, and nobody whose children are programs of somebody else: a high soft limit is inherited, and breaks
what uses ``select`` or closes every number there is.  Standard library only.
"""

from __future__ import annotations

import resource

#: Taken for a limit where there is none.
UNLIMITED = 1 << 20


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; what it is now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard > 0 else UNLIMITED
