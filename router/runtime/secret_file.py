"""The file of ``--subscription-secret-file``, as programs that log read it.  One edge."""

from __future__ import annotations

import logging

from fastroute.router.protocol.proof import exposure, read_secret


def read_secret_file(path: str | None, log: logging.Logger) -> bytes | None:
    """The secret in the file ``path``, None without one; who else may read the file is warned of.  ``SecretError`` when
    it is no secret."""
    if path is None:
        return None
    if warning := exposure(path):
        log.warning("subscription-secret-file: %s", warning)
    return read_secret(path)
